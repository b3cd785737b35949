"""`bareflow irq`: which interrupts can come, what takes them?"""

from __future__ import annotations

import argparse

HELP = "the interrupt lines: handlers, masks, requests, timer ticks"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.kernel_names import add_kernel_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_kernel_elf(parser)
    parser.epilog = "Exit code 1 when an open line has no handler. Example: bareflow irq"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.kernel_names import ask_named
    from bareflow_gdb.render import tables

    return ask_named(options, lambda guest: guest.irq(), tables.irq, lambda record: not record.problems)
