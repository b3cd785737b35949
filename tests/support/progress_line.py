"""How does a long run of a test tool tell how far it is? A line now and then; on a terminal the same one again."""

from __future__ import annotations

import sys
import time


class ProgressLine:
    """Written to standard error, at most every so many seconds."""

    def __init__(self, on_terminal: float, in_log: float) -> None:
        self._rewrites = sys.stderr.isatty()
        self._every = on_terminal if self._rewrites else in_log
        self._began = time.monotonic()
        self._next = 0.0

    def tell(self, words: str) -> None:
        """Seconds since the beginning, and these words."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        line = f"{now - self._began:6.0f} s  {words}"
        end = "" if self._rewrites else "\n"
        print(f"\r{line}\x1b[K" if self._rewrites else line, end=end, file=sys.stderr, flush=True)
