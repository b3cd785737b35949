"""How is a sentence that is said again and again told once?"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_ALIKE = 3
"""So many sentences that differ only in their numbers are shown; of more, the first one and how many there are."""
_DIFFERS = re.compile(r"\([^()]*\)|\b0x[0-9a-f]+\b|\b[0-9a-f]*[0-9][0-9a-f]*\b", re.IGNORECASE)


def folded(sentences: Iterable[str]) -> list[str]:
    """The sentences in their order, each once; those that differ only in numbers and brackets folded into one."""
    groups: dict[str, list[str]] = {}
    for sentence in dict.fromkeys(sentences):
        groups.setdefault(_DIFFERS.sub("#", sentence), []).append(sentence)
    shown: list[str] = []
    for alike in groups.values():
        if len(alike) <= MOST_ALIKE:
            shown += alike
        else:
            shown.append(f"{alike[0]} (and {len(alike) - 1:,} more like this)")
    return shown
