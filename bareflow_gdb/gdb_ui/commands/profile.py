"""`bf profile`: what the function profiler counted."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "profile",
    example="bf profile",
    show=table("profile"),
)
@only_with_guest
def profile(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show what the function profiler counted, the hottest function first."""
    return session.guest.profile()
