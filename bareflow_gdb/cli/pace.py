"""How much does a program print that runs for long, when a guest makes it talk without end?"""

from __future__ import annotations

import time
from collections.abc import Callable

AT_ONCE = 40
PER_SECOND = 1.0


class Pace:
    """Prints what it is given: forty at once, then one a second, with the number of those that were left out."""

    def __init__(self, write: Callable[[str], None], left_out: Callable[[int], str]) -> None:
        """`left_out` makes the line that tells how many are missing before the next one."""
        self._write = write
        self._left_out = left_out
        self._missing = 0
        self._allowed = float(AT_ONCE)
        self._at = time.monotonic()

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        self._allowed = min(AT_ONCE, self._allowed + (now - self._at) * PER_SECOND)
        self._at = now
        if self._allowed < 1:
            self._missing += 1
            return
        self._allowed -= 1
        if self._missing:
            self._write(self._left_out(self._missing))
            self._missing = 0
        self._write(line)
