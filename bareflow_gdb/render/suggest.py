"""How is a command written that a user may paste into a shell?"""

from __future__ import annotations

import shlex
from pathlib import Path


def shell(*words: str | Path) -> str:
    """The words, quoted where a shell needs it; a path is never taken for an option or for another kind of target."""
    return shlex.join(_safe(word) if isinstance(word, Path) else word for word in words)


def _safe(path: Path) -> str:
    text = str(path)
    return f"./{text}" if text.startswith("-") or (":" in text and not path.is_absolute()) else text
