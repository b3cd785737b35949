"""`bareflow recompile`: has LLVM compile a function anew and the guest install and call it, now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.recompile.compiler import Compiler
    from bareflow_gdb.recompile.outcome import Outcome
    from bareflow_gdb.recompile.service import Service

HELP = "compile a function of a running guest with the host's LLVM, and swap it in"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument("function", metavar="FUNCTION", help="its name, for instance fibonacci")
    parser.add_argument("--level", type=int, choices=range(4), default=3, help="optimisation level (3)")
    parser.add_argument("--timeout", type=float, default=15.0, metavar="S", help="seconds to wait (15)")
    parser.add_argument("--remarks", action="store_true", help="show what LLVM says about its optimisations")
    add_target(parser)
    parser.epilog = "Exit code 1 when it was rejected, or the new code's result is not the expected one."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import to_json

    target = open_target(options.target)
    with open_service(target) as service:
        outcome = service.request(options.function, options.level, options.timeout)
    if options.json:
        print(json.dumps(to_json(outcome), indent=2))
    elif outcome.installed:
        print("\n".join(describe(outcome, remarks=options.remarks)))
    else:
        print(f"bareflow recompile: {outcome.message}", file=sys.stderr)
    return 0 if outcome.installed and outcome.correct is not False else 1


def open_service(
    target: Target, progress: Callable[[str], None] = lambda _: None, compiler: Compiler | None = None
) -> Service:
    """A service for a running guest; raises UsageError for a target that cannot answer."""
    from bareflow_gdb.recompile.service import Service

    if not target.memory.live:
        raise UsageError(f"{target.description} does not run; recompile a function of a running machine")
    directory = target.machine.directory if target.machine is not None else None
    return Service(target.memory, directory, progress, compiler)


def describe(outcome: Outcome, *, remarks: bool = False) -> list[str]:
    """The outcome of an installed version as lines of text."""
    verdict = {True: "as expected", False: f"expected {outcome.expected}", None: "not called yet"}
    result = "" if outcome.result is None else f"{outcome.result} "
    spent = outcome.milliseconds
    phases = {
        "request": spent.request,
        "compile": spent.compile,
        "link": spent.link,
        "install": spent.install,
        "first call": spent.first_execution,
    }
    parts = ", ".join(f"{name} {value:.1f}" for name, value in phases.items() if value is not None)
    total = f"; {spent.total:.1f} ms in all" if spent.total is not None else ""
    lines = [
        f"{outcome.function} at O{outcome.level} is version {outcome.version}: "
        f"{outcome.code_size} bytes of code at 0x{outcome.code:08x}"
        + (f", {outcome.rodata_size} read-only at 0x{outcome.rodata:08x}" if outcome.rodata_size else ""),
        f"  first call  {result}({verdict[outcome.correct]})",
        f"  ms          {parts}{total}",
    ]
    if outcome.symbol_file is not None:
        lines.append(f"  symbols     {outcome.symbol_file}")
    if remarks:
        lines += [f"  {remark}" for remark in outcome.remarks] or ["  no remarks"]
    return lines
