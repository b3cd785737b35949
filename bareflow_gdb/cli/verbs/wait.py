"""`bareflow wait`: returns when a machine has reached a boot stage."""

from __future__ import annotations

import argparse
import json
import sys

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import NotReached

GROUP = "do"
HELP = "wait until a machine reaches a boot stage, for instance idle"


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser, "machine", nargs=None, help="a machine's name")
    parser.add_argument("stage", metavar="STAGE", help="boot stage, as `bareflow boot` names them")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds to wait (60)")
    parser.epilog = "Exit code 1 when the stage was not reached, 2 when there is no such machine or it has ended."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.guest.boot.wait import wait_for_stage
    from bareflow_gdb.qemu.machine import Machine

    machine = Machine.find(options.machine)
    try:
        wait_for_stage(machine, options.stage, options.timeout)
    except NotReached as error:
        print(f"bareflow wait: {error}; `bareflow status {machine.name}` shows more", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"machine": machine.name, "stage": options.stage}))
    else:
        print(f"machine {machine.name} has reached {options.stage}")
    return 0
