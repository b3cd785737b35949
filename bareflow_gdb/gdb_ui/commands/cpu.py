"""`bf cpu`: the CPU's mode, registers and tables."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import named_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "cpu",
    example="bf cpu",
    show=table("cpu"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def cpu(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show the CPU: real or protected mode, registers, control bits by name, GDT, IDT with its handlers.

    The descriptor tables' registers come from QEMU's monitor, or from the core's notes.
    """
    return named_guest(session).cpu()
