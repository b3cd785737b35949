"""`bareflow swaps`: when was each function swapped, why, and to what? From a guest, a core or a trace."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.cli.targets import Target
    from bareflow_gdb.guest.swaps import Swaps

HELP = "code swaps: call, reason, levels, addresses, times"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.epilog = "Exit code 1 when nothing was swapped."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import answer
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render import tables

    target = open_target(options.target)
    record = _swaps(target)
    answer(options, record, tables.swaps, f"({target.description})")
    return 0 if record.swaps else 1


def _swaps(target: Target) -> Swaps:
    if target.trace is not None:
        from bareflow_gdb.analysis.swaps import trace_swaps

        return trace_swaps(target.trace)
    from bareflow_gdb.guest.guest import Guest

    return Guest.attach(target.memory).swaps()
