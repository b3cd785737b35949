"""`bareflow pools`: what is in the JIT pools, who owns each block?"""

from __future__ import annotations

import argparse

HELP = "the JIT pools: use, fragmentation, the owner of each block"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target
    from bareflow_gdb.guest.pools.pools import KINDS

    add_target(parser)
    add_elf(parser)
    parser.add_argument("--kind", choices=KINDS, help="only this pool")
    parser.add_argument("--check", action="store_true", help="walk the pools' own block headers too")
    parser.epilog = "Exit code 1 when statistics, block table and headers contradict one another."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(
        options,
        lambda guest: guest.pools(options.kind, options.check),
        tables.pools,
        lambda record: not record.all_problems(),
    )
