"""`bf watch`: a write watchpoint on a function's code pointer."""

from __future__ import annotations

import argparse

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.commands.break_swap import SwapBreakpoint, watch_slot
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import FUNCTIONS, argument


@command(
    "watch",
    needs=Session.require_stopped,
    example="bf watch primes",
    arguments=(argument("function", metavar="FUNCTION", names=FUNCTIONS, help="whose code pointer to watch"),),
    show=lambda record: (
        f"watchpoint {record.number} on the code pointer of {record.function} at 0x{record.address:08x}: "
        "stops after each store that changes it"
    ),
)
def watch(options: argparse.Namespace, session: Session) -> SwapBreakpoint:
    """Stop after each change of a function's published code pointer, whoever makes it.

    Works on stock kernels too, where the swap is inlined and no breakpoint finds it. An ordinary watchpoint of
    gdb, listed and deleted as any other; it goes with the connection.
    """
    return watch_slot(session, options.function)
