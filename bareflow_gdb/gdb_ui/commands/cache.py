"""`bf cache`: the kernel's cache of module images."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "cache",
    example="bf cache",
    show=table("cache"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def cache(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show which module images the kernel keeps in its cache, with hits, misses and evictions."""
    return session.guest.cache()
