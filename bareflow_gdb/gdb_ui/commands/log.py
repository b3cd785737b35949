"""`bf log`: what the guest printed on COM1."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "log",
    example="bf log --last 500",
    arguments=(argument("--last", type=int, metavar="BYTES", help="only the end of it"),),
    show=table("log"),
)
@only_with_guest
def log(options: argparse.Namespace, session: Session) -> Any:
    """Show what the guest printed on COM1, from its own log buffer.

    The buffer keeps the last 16 KiB, in a core and after a halt too.
    """
    return session.guest.log(options.last)
