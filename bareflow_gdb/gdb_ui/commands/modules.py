"""`bf modules`: the loaded modules and their headers."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "modules",
    example="bf modules --check",
    arguments=(argument("--check", action="store_true", help="compute the SHA-256 of each image too"),),
    show=table("modules"),
)
@only_with_guest
def modules(options: argparse.Namespace, session: Session) -> Any:
    """List the loaded modules: address, size, header, calls, cycles."""
    return session.guest.modules(options.check)
