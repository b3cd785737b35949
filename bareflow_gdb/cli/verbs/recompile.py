"""`bareflow recompile`: has LLVM compile a function again and the guest install and call it, now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bareflow_gdb.cli.completers import COMPLETERS, completed
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import TIERS, tier_of_level
from bareflow_gdb.questions.question import FUNCTIONS

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.recompile.compilers import Compilers
    from bareflow_gdb.recompile.service import Service

GROUP = "do"
HELP = "compile a function of a running guest with the host's LLVM, and swap it in"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    function = parser.add_argument("function", metavar="FUNCTION", help="its name, for instance fibonacci")
    completed(function, COMPLETERS[FUNCTIONS])
    parser.add_argument("--tier", choices=TIERS, default="O3", help="how far it is optimised (O3)")
    # As it was called before.
    parser.add_argument("--level", dest="tier", type=tier_of_level, help=argparse.SUPPRESS)
    parser.add_argument("--timeout", type=float, default=15.0, metavar="S", help="seconds to wait (15)")
    parser.add_argument("--remarks", action="store_true", help="show what LLVM says about its optimisations")
    add_target(parser)
    parser.epilog = "Exit code 1 when it was rejected, or the new code's result is not the expected one."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.render.outcome import outcome

    target = open_target(options.target)
    with open_service(target) as service:
        record = service.request(options.function, TIERS.index(options.tier), options.timeout)
    if options.json:
        print(json.dumps(to_json(record), indent=2))
    elif record.installed:
        print(outcome(record, remarks=options.remarks))
    else:
        print(f"bareflow recompile: {outcome(record)}", file=sys.stderr)
    return 0 if record.right else 1


def open_service(
    target: Target, progress: Callable[[str], None] = lambda _: None, compilers: Compilers | None = None
) -> Service:
    """A service for a running guest; raises UsageError for a target that cannot answer."""
    from bareflow_gdb.recompile.service import Service

    if not target.memory.live:
        raise UsageError(f"{target.description} does not run; recompile a function of a running machine")
    directory = target.machine.directory if target.machine is not None else None
    return Service(target.memory, directory, progress, compilers)
