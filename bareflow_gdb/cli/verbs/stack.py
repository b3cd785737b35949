"""`bareflow stack`: who called whom, how deep did the stack ever get?"""

from __future__ import annotations

import argparse

HELP = "the kernel's stack: callers by name, deepest use"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.kernel_names import add_kernel_elf
    from bareflow_gdb.cli.targets import add_target
    from bareflow_gdb.cli.words import address

    add_target(parser)
    for name in ("ebp", "esp", "eip"):
        parser.add_argument(
            f"--{name}", type=address, metavar="ADDRESS", help=f"begin with this {name.upper()}"
        )
    add_kernel_elf(parser)
    parser.epilog = (
        "Without registers (a trace, a dump) it begins with those of the last exception. "
        "Exit code 1 when the stack is damaged or nearly full. Example: bareflow stack --ebp 0x8ffa0 dump.bin"
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.kernel_names import ask_named
    from bareflow_gdb.render import tables

    return ask_named(
        options,
        lambda guest: guest.stack(options.esp, options.ebp, options.eip),
        tables.stack,
        lambda record: not record.problems,
    )
