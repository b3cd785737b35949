"""How is one question put to a target, and how is its answer printed? What all read-only verbs share.

The record goes to stdout, as a table or as JSON; where it came from is no part of it, so that the answers of
a guest, its core and its trace can be compared.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bareflow_gdb.cli.targets import Target, open_target
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.kernel import Provenance
from bareflow_gdb.render.jsonable import dumps
from bareflow_gdb.render.tables import WIDTH
from bareflow_gdb.render.text import wants_colour

R = TypeVar("R")
Show = Callable[[R, int, bool], str]


def ask(
    options: argparse.Namespace,
    question: Callable[[Guest], R],
    show: Show[R],
    yes: Callable[[R], bool] = lambda record: True,  # noqa: ARG005
    target: Target | None = None,
) -> int:
    """Prints the answer; returns 0, or 1 when `yes` says that it is "no" or has findings."""
    target = target or open_target(options.target)
    guest = attach(options, target)
    record = question(guest)
    answer(options, record, show, source(target, guest), guest.provenance())
    return 0 if yes(record) else 1


def add_elf(parser: argparse.ArgumentParser) -> None:
    """Adds `--elf FILE`, as `options.elf`, to a verb that kernels without a debug interface answer too."""
    parser.add_argument(
        "--elf",
        type=Path,
        metavar="FILE",
        help="the kernel's ELF file, for a kernel without a debug interface",
    )


def attach(options: argparse.Namespace, target: Target) -> Guest:
    """The guest of a target, with the symbols of `--elf` when that is the ELF of the kernel in memory."""
    memory = target.memory
    symbols: Mapping[str, int] = {}
    if getattr(options, "elf", None) is not None:
        from bareflow_gdb.guest.names.elf_check import check_elf, load_elf

        elf = load_elf(options.elf)
        check = check_elf(memory, elf)
        if check.same:
            symbols = elf.symbols
        else:
            _tell(check.verdict)
    guest = Guest.attach(memory, symbols, _tell)
    machine = target.machine
    if machine is not None:
        guest.stock.serial_log = lambda: _text(machine.serial_path)
    return guest


def _tell(sentence: str) -> None:
    print(f"bareflow: {sentence}", file=sys.stderr)


def _text(path: Path) -> str:
    """A serial log as far as it can be read; it only adds to what memory tells."""
    try:
        return path.read_text(encoding="latin-1")
    except OSError:
        return ""


def answer(
    options: argparse.Namespace, record: R, show: Show[R], source: str, provenance: Provenance | None = None
) -> None:
    """Prints a record as a table or as JSON, and where it came from."""
    if options.json:
        print(dumps(record, provenance))
        return
    colour = wants_colour(sys.stdout)
    width = shutil.get_terminal_size((WIDTH, 40)).columns if colour else WIDTH
    print(show(record, width, colour))
    print(source, file=sys.stderr)


def source(target: Target, guest: Guest) -> str:
    """Where the answer came from, how what it is about was found, and what it cannot tell."""
    provenance = guest.provenance()
    if provenance.found:
        return "\n".join((f"({target.description}, a kernel without debug interface)", *provenance.lines()))
    root = f"root descriptor found by {guest.found_by}" if guest.found_by else "no root descriptor found"
    return f"({target.description}, {root})"
