"""`bareflow identify`: what is at this address?"""

from __future__ import annotations

import argparse

HELP = "what an address belongs to"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.kernel_names import add_kernel_elf
    from bareflow_gdb.cli.targets import add_target
    from bareflow_gdb.cli.words import address

    parser.add_argument("address", metavar="ADDRESS", type=address, help="0x… or decimal")
    add_target(parser)
    add_kernel_elf(parser)
    parser.epilog = "Exit code 1 when the address is outside RAM."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.kernel_names import ask_named
    from bareflow_gdb.render import tables

    return ask_named(
        options,
        lambda guest: guest.identify(options.address),
        tables.identify,
        lambda record: record.region != "outside RAM",
    )
