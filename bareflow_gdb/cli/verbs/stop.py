"""`bareflow stop`: ends a machine and removes its files."""

from __future__ import annotations

import argparse
import json

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import UsageError

GROUP = "do"
HELP = "end a machine and remove its files"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run_verb=main)
    add_machine(parser, "name", help="a machine's name (default: the only one)")
    parser.add_argument("--all", action="store_true", help="every machine of yours, also files of ended ones")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.qemu.machine import Machine

    stale = Machine.stale()
    if options.all:
        chosen = Machine.all() + stale
    elif options.name is None:
        running = Machine.all()
        if len(running) > 1:
            names = ", ".join(machine.name for machine in running)
            raise UsageError(f"{len(running)} machines are running ({names}); say which one, or --all")
        chosen = [Machine.find(None)]
    else:
        ended = [machine for machine in stale if machine.name == options.name]
        chosen = ended or [Machine.find(options.name)]
    for machine in chosen:
        machine.stop()
        if not options.json:
            print(f"machine {machine.name} has ended")
    if options.json:
        print(json.dumps({"stopped": [machine.name for machine in chosen]}))
    return 0
