"""`bf status`: where is the guest, what is wrong, what next."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "status",
    example="bf status",
    show=table("status"),
)
@only_with_guest
def status(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show where the guest is, what is wrong with it, and what to do next.

    Works at every moment, also before a kernel is in memory.
    """
    return session.guest.status()
