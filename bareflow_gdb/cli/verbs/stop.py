"""`bareflow stop`: ends a machine and removes its files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import sentence

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine

GROUP = "do"
HELP = "end a machine and remove its files"


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser, "name", help="a machine's name (default: the only one)")
    parser.add_argument("--all", action="store_true", help="every machine of yours, also what ended and lost ones left")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.qemu.leftovers import leftovers
    from bareflow_gdb.qemu.machine import Machine

    damaged = [name for name, _ in Machine.damaged() if options.all or name == options.name]
    there = {machine.name for machine in (*Machine.all(), *Machine.stale())}
    lost = [left for left in leftovers() if options.all or (left.name == options.name and left.name not in there)]
    chosen = [] if (damaged or lost) and not options.all else _chosen(options)
    told: list[str] = []
    failed: list[str] = []
    ends: list[tuple[str, Callable[[], None], str]] = [
        *((machine.name, machine.stop, f"machine {machine.name} has ended") for machine in chosen),
        *((name, partial(Machine.remove_damaged, name), f"the damaged machine {name} is removed") for name in damaged),
        *((left.name, left.remove, f"{left}: removed") for left in lost),
    ]
    for name, end, done in ends:
        try:
            end()
        except BareflowError as error:
            # One that cannot be ended must not keep the others.
            failed.append(str(error))
            continue
        told.append(name)
        if not options.json:
            print(sentence(done))
    if options.json:
        print(json.dumps({"stopped": told}))
    if failed:
        raise BareflowError("; ".join(failed))
    return 0


def _chosen(options: argparse.Namespace) -> list[Machine]:
    from bareflow_gdb.qemu.machine import Machine

    stale = Machine.stale()
    if options.all:
        return Machine.all() + stale
    if options.name is None:
        running = Machine.all()
        if len(running) > 1:
            names = ", ".join(machine.name for machine in running)
            raise UsageError(f"{len(running)} machines are running ({names}); say which one, or --all")
        return [Machine.find(None)]
    return [machine for machine in stale if machine.name == options.name] or [Machine.find(options.name)]
