"""`bareflow bitcode`: which bitcode does a function carry, who made it, is its header right?"""

from __future__ import annotations

import argparse

HELP = "a function's bitcode: header generation, payload, producer"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument(
        "function", metavar="NAME|ADDRESS", help="a function of the adaptive JIT, or a header's address 0x…"
    )
    add_target(parser)
    parser.epilog = "Exit code 1 when something is wrong with it. Example: bareflow bitcode primes"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.cli.words import name_or_address
    from bareflow_gdb.render import tables

    wanted = name_or_address(options.function)
    return ask(
        options,
        lambda guest: guest.bitcode_of(wanted),
        tables.bitcode,
        lambda record: not record.problems,
    )
