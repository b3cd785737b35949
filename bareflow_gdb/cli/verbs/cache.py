"""`bareflow cache`: which module images does the kernel keep, and does it help?"""

from __future__ import annotations

import argparse

HELP = "the kernel's cache of module images: slots, hits, evictions"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.epilog = "Exit code 1 when a slot cannot be right. Example: bareflow cache --json"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.cache(), tables.cache, lambda record: not record.problems)
