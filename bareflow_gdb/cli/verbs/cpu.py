"""`bareflow cpu`: in which state is the CPU: mode, flags, descriptor tables, handlers?"""

from __future__ import annotations

import argparse

HELP = "the CPU: mode, registers, control bits, GDT, IDT with its handlers"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.kernel_names import add_kernel_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_kernel_elf(parser)
    parser.epilog = "Exit code 1 when a table cannot be right. Example: bareflow cpu --elf kernel.elf core"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.kernel_names import ask_named
    from bareflow_gdb.render import tables

    return ask_named(options, lambda guest: guest.cpu(), tables.cpu, lambda record: not record.problems)
