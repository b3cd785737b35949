"""`bf jitsym`: which recompiled code does gdb have names and source lines of?"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.jit_symbols import Attached
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import argument


@dataclass(frozen=True)
class JitSymbolsReport:
    """What is attached, in one file."""

    attached: tuple[Attached, ...]


@command(
    "jitsym",
    needs=Session.require,
    example="bf jitsym",
    arguments=(argument("--detach", action="store_true", help="remove all of it from gdb"),),
    show=lambda record: _text(record),
)
def jitsym(options: argparse.Namespace, session: Session) -> JitSymbolsReport:
    """Attach names and debug information of the published JIT code, and show what is attached.

    Every published version gets a symbol such as primes@O2; those that `bf recompile` or `bareflow serve` made
    have source lines, arguments and variables too. Replaced versions are detached.
    """
    if options.detach:
        return JitSymbolsReport(session.detach_symbols())
    if session.running:
        raise UsageError("gdb takes no symbols while the guest runs; stop it with `interrupt`")
    session.update_symbols()
    return JitSymbolsReport(session.attached_symbols())


def _text(record: JitSymbolsReport) -> str:
    if not record.attached:
        return "nothing is attached"
    lines = [f"{'SYMBOL':<20} {'VERSION':>7}  {'CODE':<10} {'BYTES':>6}  SOURCE LINES FROM"]
    for item in record.attached:
        version = "-" if item.version is None else f"#{item.version}"
        lines.append(f"{item.name:<20} {version:>7}  0x{item.code:08x} {item.size:>6}  {item.lines or '-'}")
    return "\n".join(lines)
