"""`bf block`: the pool block around an address."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.commands.identify import evaluate
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "block",
    example="bf block 0x200010",
    arguments=(
        argument("address", metavar="ADDRESS", nargs="+", help="an address, or any expression of gdb's"),
        argument("--bytes", type=int, metavar="N", help="bytes to show (default 128)"),
    ),
    show=table("block"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def block(options: argparse.Namespace, session: Session) -> Any:
    """Show the pool block around an address: header, owner, first bytes, neighbours.

    The headers of both neighbours are checked too: an overrun damages the next one.
    """
    return session.guest.block(evaluate(" ".join(options.address)), options.bytes)
