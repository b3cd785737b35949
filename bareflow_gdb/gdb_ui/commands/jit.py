"""`bf jit`: the functions of the adaptive JIT and their versions."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "jit",
    example="bf jit --json",
    arguments=(
        argument(
            "--all", action="store_true", help="every version, where that costs more than ten packets too"
        ),
    ),
    show=table("jit"),
)
@only_with_guest
def jit(options: argparse.Namespace, session: Session) -> Any:
    """Show each function of the adaptive JIT: level, calls, next threshold, versions."""
    return session.guest.jit(every=options.all)
