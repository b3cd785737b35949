"""How does a verb that takes long tell how far it is, on a terminal and in a log?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bareflow_gdb import foreign
from bareflow_gdb.model.progress import Progress

FIRST_SECONDS = 1.0
"""What takes less tells nothing."""
_TERMINAL_SECONDS, _LOG_SECONDS = 0.1, 5.0


@contextmanager
def told(first: float = FIRST_SECONDS) -> Iterator[Progress]:
    """Tells on standard error: one line that is written again, or now and then a new one; none before `first` s."""
    rewrite = sys.stderr.isatty()
    began = time.monotonic()
    due = began + first
    shown = False

    def tell(what: str, share: float) -> None:
        nonlocal due, shown
        now = time.monotonic()
        if now < due:
            return
        due = now + (_TERMINAL_SECONDS if rewrite else _LOG_SECONDS)
        shown = True
        line = f"{share:4.0%}  {now - began:5.1f} s  {foreign.sentence(what)}"
        # A terminal that was closed must not end the work.
        with suppress(OSError):
            print(f"\r{line}\x1b[K" if rewrite else line, end="" if rewrite else "\n", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if rewrite and shown:
            with suppress(OSError):
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
