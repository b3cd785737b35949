"""`bareflow header`: is a module's header right, and what does it say?"""

from __future__ import annotations

import argparse

HELP = "a module's header: decoded, checked against its image and its SHA-256"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument("module", metavar="NAME|ADDRESS", help="a loaded module, or an address 0x…")
    add_target(parser)
    parser.add_argument("--check", action="store_true", help="check the SHA-256 of images over 12 KB too")
    parser.epilog = "Exit code 1 when something is wrong with it. Example: bareflow header primes"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.cli.words import name_or_address
    from bareflow_gdb.render import tables

    wanted = name_or_address(options.module)
    return ask(
        options,
        lambda guest: guest.header(wanted, options.check),
        tables.header,
        lambda record: not record.problems,
    )
