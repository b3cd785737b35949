"""`bf screen`: what is on the guest's screen."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "screen",
    example="bf screen",
    show=table("screen"),
)
@only_with_guest
def screen(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show the VGA text on the guest's screen, in its 16 colours on a terminal.

    It works while the guest runs too, when the machine was started by `bareflow run`.
    """
    return session.guest.screen()
