"""`bf stack`: the kernel's stack."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.commands.identify import evaluate
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import named_guest
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "stack",
    example="bf stack",
    arguments=tuple(
        argument(f"--{name}", metavar="ADDRESS", help=f"begin with this {name.upper()} (default: the CPU's)")
        for name in ("esp", "ebp", "eip")
    ),
    show=table("stack"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def stack(options: argparse.Namespace, session: Session) -> Any:
    """Show who called whom by the chain of saved EBPs, JIT code by function and tier, and the deepest use."""
    given = {name: getattr(options, name) for name in ("esp", "ebp", "eip")}
    addresses = {name: evaluate(text) if text is not None else None for name, text in given.items()}
    return named_guest(session).stack(**addresses)
