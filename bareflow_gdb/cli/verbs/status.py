"""`bareflow status`: where is the guest, what is wrong, what next?"""

from __future__ import annotations

import argparse

HELP = "where the guest is, what is wrong, what to do next"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.epilog = "Exit code 1 when something is wrong."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.status(), tables.status, lambda record: record.ok)
