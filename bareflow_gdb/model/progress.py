"""How does what takes long tell how far it is?"""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Is given what is being done, and the share of the whole that is done, 0 to 1."""


def silent(_what: str, _share: float) -> None:
    """Tells nobody."""
