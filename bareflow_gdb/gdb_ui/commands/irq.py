"""`bf irq`: the interrupt lines."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import named_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "irq",
    example="bf irq",
    show=table("irq"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def irq(options: argparse.Namespace, session: Session) -> Any:  # noqa: ARG001 - every command has both
    """Show the interrupt lines: device, vector, handler, mask, request, and the timer ticks counted.

    Masks are registers of the PICs, which no memory holds: they are known for a live guest only.
    """
    return named_guest(session).irq()
