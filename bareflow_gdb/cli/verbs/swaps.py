"""`bareflow swaps`: when was each function swapped, why, and to what? From a guest, a core or a trace."""

from __future__ import annotations

import argparse

HELP = "code swaps: call, reason, levels, addresses, times"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.add_argument(
        "--all", action="store_true", help="over a gdbstub: every version, also where that costs many packets"
    )
    parser.epilog = "Exit code 1 when nothing was swapped."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import answer, ask
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render import tables

    target = open_target(options.target)
    if target.trace is None:
        return ask(
            options,
            lambda guest: guest.swaps(every=options.all),
            tables.swaps,
            lambda record: bool(record.swaps),
            target,
        )
    from bareflow_gdb.analysis.swaps import trace_swaps

    record = trace_swaps(target.trace)
    answer(options, record, tables.swaps, f"({target.description})")
    return 0 if record.swaps else 1
