"""`bareflow jit`: which code does each function run now, which versions does it have?"""

from __future__ import annotations

import argparse

HELP = "functions of the adaptive JIT: level, versions, thresholds, control words"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.add_argument(
        "--all", action="store_true", help="over a gdbstub: every version, also where that costs many packets"
    )
    parser.epilog = "Exit code 1 when code pointers and tables contradict one another."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options, lambda guest: guest.jit(every=options.all), tables.jit, lambda record: not record.problems
    )
