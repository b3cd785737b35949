"""`steady-continue` in a test's gdb: continues, and once more when the guest stands where it stood.

QEMU 7.2 answers a step that an interrupt's kick met at its beginning with a stop, though nothing was executed; gdb
steps over the breakpoint where it stands, so `continue` then shows the same stop again. On a busy host that is one
stop in a thousand. What was printed at such a stop lies between AGAIN's two characters and is none of the test's.
"""

from __future__ import annotations

import contextlib
from typing import Any

import gdb

BEGIN, AGAIN = "\x02", "\x03"
MOST = 5


def standing() -> list[str]:
    """The registers, and how many events the guest has told of: it may come by with the same registers again."""
    found = []
    words = [f"${name}" for name in ("eip", "esp", "eax", "ecx", "edx", "eflags")]
    for word in (*words, "*(unsigned int *) $_steady_events"):
        with contextlib.suppress(gdb.error):  # no registers, or no such memory
            found.append(str(gdb.parse_and_eval(word)))
    return found


class SteadyContinue(gdb.Command):
    """Continue, past a stop that is told again."""

    def __init__(self) -> None:
        super().__init__("steady-continue", gdb.COMMAND_RUNNING)

    def invoke(self, argument: str, from_tty: bool) -> None:  # noqa: ARG002 - gdb's signature
        for _ in range(MOST):
            before = standing()
            stops: list[Any] = []
            gdb.events.stop.connect(stops.append)
            gdb.write(BEGIN)
            try:
                gdb.execute("continue")
            finally:
                gdb.events.stop.disconnect(stops.append)
            at_breakpoint = bool(stops) and isinstance(stops[-1], gdb.BreakpointEvent)
            if not at_breakpoint or standing() != before:
                return
            gdb.write(AGAIN)


SteadyContinue()
