"""`bf bitcode`: a function's bitcode."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.commands.identify import evaluate
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.guest_names import function_names
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "bitcode",
    example="bf bitcode primes",
    arguments=(
        argument(
            "function",
            metavar="NAME|ADDRESS",
            nargs="+",
            help="a function of the adaptive JIT, or the address of a bitcode header",
            complete=function_names,
        ),
    ),
    show=table("bitcode"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def bitcode(options: argparse.Namespace, session: Session) -> Any:
    """Show which bitcode a function carries: header generation, payload, producer, target, source."""
    guest = session.guest
    wanted = " ".join(options.function)
    try:
        return guest.bitcode_of(wanted)
    except BareflowError:
        # Not a function's name: an address, if gdb can make one of it.
        try:
            address = evaluate(wanted)
        except UsageError:
            address = None
        if address is None:
            raise
        return guest.bitcode_of(address)
