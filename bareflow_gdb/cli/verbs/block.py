"""`bareflow block`: what is the pool block around this address?"""

from __future__ import annotations

import argparse

HELP = "the pool block around an address: header, owner, bytes, neighbours"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target
    from bareflow_gdb.cli.words import address
    from bareflow_gdb.guest.pools.block import SHOWN_BYTES

    parser.add_argument("address", metavar="ADDRESS", type=address, help="0x… or decimal")
    add_target(parser)
    parser.add_argument(
        "--bytes", type=int, metavar="N", default=SHOWN_BYTES, help=f"bytes to show ({SHOWN_BYTES})"
    )
    parser.epilog = (
        "Exit code 1 when its header or a neighbour's is damaged. Example: bareflow block 0x200010"
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options,
        lambda guest: guest.block(options.address, options.bytes),
        tables.block,
        lambda record: not record.problems,
    )
