"""`bareflow identify`: what is at this address?"""

from __future__ import annotations

import argparse

HELP = "what an address belongs to"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument("address", metavar="ADDRESS", type=_address, help="0x… or decimal")
    add_target(parser)
    parser.epilog = "Exit code 1 when the address is outside RAM."


def _address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; try 0x10000") from None


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options,
        lambda guest: guest.identify(options.address),
        tables.identify,
        lambda record: record.region != "outside RAM",
    )
