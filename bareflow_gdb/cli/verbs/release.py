"""`bareflow release`: lets a guest that was started with --hold begin its run."""

from __future__ import annotations

import argparse
import json

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import UsageError

GROUP = "do"
HELP = "let a guest started with --hold begin its run"


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser)
    parser.epilog = "Exit code 1 when the guest was not held."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.guest.boot.wait import release, still

    target = open_target(options.target)
    if target.machine is None:
        raise UsageError(f"{target.description} is not a running machine; `bareflow list` shows them")
    held = release(target.machine)
    why = still(target.machine)
    if options.json:
        print(json.dumps({"machine": target.machine.name, "released": held, "stopped": why or None}))
    elif held:
        print(f"machine {target.machine.name} {f'is released, and stands still: {why}' if why else 'begins its run'}")
    else:
        print(f"machine {target.machine.name} was not held")
    return 0 if held else 1
