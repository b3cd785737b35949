"""`bareflow modules`: which modules run, from where, is each header right?"""

from __future__ import annotations

import argparse

HELP = "loaded modules, their calls, their headers"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.add_argument("--check", action="store_true", help="also compute the SHA-256 of each image")
    parser.epilog = "Exit code 1 when a header or an image is not right."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options,
        lambda guest: guest.modules(options.check),
        tables.modules,
        lambda record: not record.all_problems(),
    )
