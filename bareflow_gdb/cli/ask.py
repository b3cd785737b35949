"""How is one question put to a target, and how is its answer printed? What all read-only verbs share.

The record goes to stdout, as a table or as JSON; where it came from is no part of it, so that the answers of
a guest, its core and its trace can be compared.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import TypeVar

from bareflow_gdb.cli.targets import Target, open_target
from bareflow_gdb.guest.guest import Guest
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
) -> int:
    """Prints the answer; returns 0, or 1 when `yes` says that it is "no" or has findings."""
    target = open_target(options.target)
    guest = Guest.attach(target.memory)
    record = question(guest)
    answer(options, record, show, _source(target, guest))
    return 0 if yes(record) else 1


def answer(options: argparse.Namespace, record: R, show: Show[R], source: str) -> None:
    """Prints a record as a table or as JSON, and where it came from."""
    if options.json:
        print(dumps(record))
        return
    colour = wants_colour(sys.stdout)
    width = shutil.get_terminal_size((WIDTH, 40)).columns if colour else WIDTH
    print(show(record, width, colour))
    print(source, file=sys.stderr)


def _source(target: Target, guest: Guest) -> str:
    """Where the answer came from, and how the root descriptor was found."""
    root = f"root descriptor found by {guest.found_by}" if guest.found_by else "no root descriptor found"
    return f"({target.description}, {root})"
