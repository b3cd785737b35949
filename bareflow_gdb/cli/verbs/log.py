"""`bareflow log`: what did the guest print on COM1?"""

from __future__ import annotations

import argparse

HELP = "what the guest printed, from its own log buffer"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.add_argument("--last", type=int, metavar="BYTES", help="only the end of it")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.log(options.last), tables.log)
