"""`bf boot`: the boot stages."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "boot",
    example="bf boot",
    show=table("boot"),
)
@only_with_guest
def boot(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show which boot stages were reached, what was loaded, and what failed.

    Answers from stage 1 on, in real mode too, when there is no kernel yet.
    """
    return session.guest.boot()
