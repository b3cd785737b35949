"""`bf pools`: the JIT pools and who owns their blocks."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "pools",
    example="bf pools code",
    arguments=(
        argument(
            "kind",
            nargs="?",
            choices=("code", "data", "metadata"),
            metavar="KIND",
            help="code, data or metadata (default: all)",
        ),
        argument("--check", action="store_true", help="walk the block headers too, about a packet per 2 KB"),
    ),
    show=table("pools"),
)
@only_with_guest
def pools(options: argparse.Namespace, session: Session) -> Any:
    """Show the JIT pools: used, free, fragmentation, and the owner of each block."""
    return session.guest.pools(options.kind, options.check)
