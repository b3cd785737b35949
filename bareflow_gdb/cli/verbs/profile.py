"""`bareflow profile`: what is hot, what did the function profiler decide?"""

from __future__ import annotations

import argparse

HELP = "calls and cycles per function, the hottest first"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.epilog = "Exit code 1 when the profiler's records contradict one another."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.profile(), tables.profile, lambda record: not record.problems)
