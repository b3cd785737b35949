"""`bf identify`: what is at this address."""

from __future__ import annotations

import argparse
from typing import Any

import gdb

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import named_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "identify",
    example="bf identify $eip",
    arguments=(
        argument("address", metavar="ADDRESS", nargs="+", help="an address, or any expression of gdb's"),
    ),
    show=table("identify"),
)
@only_with_guest
def identify(options: argparse.Namespace, session: Session) -> Any:
    """Say what an address belongs to: module, version of a function, pool block, table, stack, device."""
    return named_guest(session).identify(evaluate(" ".join(options.address)))


def evaluate(expression: str) -> int:
    """An address from gdb's expression language; raises UsageError."""
    try:
        return int(gdb.parse_and_eval(expression)) & 0xFFFFFFFF
    except (gdb.error, ValueError, TypeError) as error:
        raise UsageError(f"{expression} is no address ({error}); try 0x200010 or $eip") from error
