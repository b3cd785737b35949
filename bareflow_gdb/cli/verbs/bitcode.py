"""`bareflow bitcode`: which bitcode does a function carry, who made it, is its header right?"""

from __future__ import annotations

import argparse

HELP = "a function's bitcode: header generation, payload, producer"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument("function", metavar="NAME", help="a function of the adaptive JIT")
    add_target(parser)
    parser.epilog = "Exit code 1 when something is wrong with it. Example: bareflow bitcode primes"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options,
        lambda guest: guest.bitcode_of(options.function),
        tables.bitcode,
        lambda record: not record.problems,
    )
