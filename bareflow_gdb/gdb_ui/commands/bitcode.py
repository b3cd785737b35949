"""`bf bitcode`: a function's bitcode."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
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
            metavar="NAME",
            help="a function of the adaptive JIT",
            complete=function_names,
        ),
    ),
    show=table("bitcode"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def bitcode(options: argparse.Namespace, session: Session) -> Any:
    """Show which bitcode a function carries: header generation, payload, producer, target, source."""
    return session.guest.bitcode_of(options.function)
