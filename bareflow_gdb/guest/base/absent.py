"""Why is something not told? Four different reasons, in the same words wherever one is given."""

from __future__ import annotations

from bareflow_gdb.errors import BadData

CANNOT_KNOW = "cannot be known"
"""Nothing that is kept tells it."""
NOT_YET = "not there yet"
"""The guest runs, and may still make it."""
TORN_DOWN = "torn down"
"""It was there, and the guest has given it up."""
NONE = "none in this kernel"
"""The kernel has no such part, or has halted for good without one."""


class Absent(BadData):
    """A part of a kernel that cannot be told; `reason` is one of the four words."""

    def __init__(self, what: str, reason: str, because: str, next_step: str = "") -> None:
        super().__init__(f"{what}: {reason}: {because}" + (f"; {next_step}" if next_step else ""))
        self.reason = reason
