"""Where do the names of the kernel's functions come from: `--elf FILE`, or the file beside the machine's image?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bareflow_gdb.cli.ask import Show, ask
from bareflow_gdb.cli.targets import Target, open_target
from bareflow_gdb.guest.guest import Guest

R = TypeVar("R")


def add_kernel_elf(parser: argparse.ArgumentParser) -> None:
    """Adds `--elf FILE`, as `options.kernel_elf`."""
    parser.add_argument(
        "--elf",
        dest="kernel_elf",
        type=Path,
        metavar="FILE",
        help="the kernel's ELF file, for names (default: the one beside the machine's image)",
    )


def ask_named(
    options: argparse.Namespace, question: Callable[[Guest], R], show: Show[R], yes: Callable[[R], bool]
) -> int:
    """`ask`, with the names of the kernel's functions."""
    target = open_target(options.target)

    def named(guest: Guest) -> R:
        _name(guest, options.kernel_elf, target)
        return question(guest)

    return ask(options, named, show, yes, target)


def _name(guest: Guest, given: Path | None, target: Target) -> None:
    from bareflow_gdb.guest.names.kernel_symbols import beside

    if given is not None:
        if not guest.name_kernel(given):
            print(f"bareflow: {given} is another kernel's, or has no symbols: not used", file=sys.stderr)
    elif target.machine is not None:
        any(guest.name_kernel(elf) for elf in beside(target.machine.image))
