"""`bareflow exception`: which exception did the guest take, where, and with which registers?"""

from __future__ import annotations

import argparse

HELP = "the last exception: vector, place, registers"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.epilog = "Exit code 1 when the guest took one."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.exception(), tables.exception, lambda record: record.count == 0)
