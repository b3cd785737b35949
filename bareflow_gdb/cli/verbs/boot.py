"""`bareflow boot`: which boot stage was reached, what was loaded, what was wrong?"""

from __future__ import annotations

import argparse

HELP = "boot stages, what was loaded, what was wrong"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.epilog = "Exit code 1 when the boot has not come to the kernel or the record shows a fault."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.boot(), tables.boot, lambda record: record.ok)
