"""`bf swaps`: every code swap so far."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "swaps",
    example="bf swaps",
    arguments=(
        argument(
            "--all", action="store_true", help="every version, where that costs more than ten packets too"
        ),
    ),
    show=table("swaps"),
)
@only_with_guest
def swaps(options: argparse.Namespace, session: Session) -> Any:
    """List the code swaps: when, why, from which code to which, and how long it took."""
    return session.guest.swaps(every=options.all)
