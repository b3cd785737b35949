"""Which signals end the program, and how does a verb end well when one comes?

Of a signal that was ignored from the start nothing is changed, so that `nohup` works; but a job that a shell started
in the background has SIGINT ignored too, and a verb that runs until Ctrl-C listens to it all the same.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGKILL is the way out that is left.
ENDING = tuple(getattr(signal, f"SIG{name}") for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "XCPU"))


class Ended(KeyboardInterrupt):
    """A signal asks the program to end: raised where it happens to be, so that it tidies up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def tidy_up() -> None:
    """From now on SIGHUP and SIGTERM unwind the program, as Ctrl-C does, in place of ending it at once."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


@contextmanager
def noted(numbers: Iterable[int] = ENDING) -> Iterator[Callable[[], bool]]:
    """Inside the block these signals interrupt nothing; what the block gets tells whether there was one."""
    # Not an Event: its lock would wait for itself when a second signal comes while the first one is noted.
    seen = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen = True

    before = [
        (number, signal.signal(number, note))
        for number in numbers
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
    ]
    try:
        yield lambda: seen
    finally:
        for number, handler in before:
            signal.signal(number, handler)
