"""`bf serial`: what the guest printed on COM1."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "serial",
    example="bf serial --last 500",
    arguments=(argument("--last", type=int, metavar="BYTES", help="only the end of it"),),
    show=table("serial"),
)
@only_with_guest
def serial(options: argparse.Namespace, session: Session) -> Any:
    """Show what the guest printed on COM1: the machine's serial log, else the kernel's own log buffer.

    `bareflow serial --follow` shows it as it comes.
    """
    if session.machine is None:
        return session.guest.serial(options.last)
    from bareflow_gdb.guest.machine.serial import read_serial_file

    return read_serial_file(session.machine.serial_path, options.last)
