"""`bf exception`: the last exception that the guest took."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "exception",
    example="bf exception",
    show=table("exception"),
    verdict=lambda record: record.count == 0,
)
@only_with_guest
def exception(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show the last exception that the guest took: vector, place, registers.

    It is read from the record that the guest's handler left in memory, so it is there after the guest halted too.
    """
    return session.guest.exception()
