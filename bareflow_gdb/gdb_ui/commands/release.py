"""`bf release`: let a guest that was started with --hold begin its run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session

if TYPE_CHECKING:
    from bareflow_gdb.guest.base.root import Released


@command(
    "release",
    needs=Session.require,
    example="bf release",
    show=lambda record: f"released: the hold word at 0x{record.hold:08x} was {record.before} and is 0 now",
)
def release(options: argparse.Namespace, session: Session) -> Released:  # noqa: ARG001 - every command has both
    """Let a guest that was started with --hold begin its run.

    Writes 0 to `hold` in the root descriptor; a stopped guest begins when it is continued.
    """
    from bareflow_gdb.guest.base.root import release_hold

    root = session.guest.kernel().need_interface("it cannot be held; start it with --paused and `continue`")
    released = release_hold(session.memory, root)
    if released.before == 0:
        raise UsageError("this guest is not held; `bf status` shows where it is")
    return released
