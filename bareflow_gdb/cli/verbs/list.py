"""`bareflow list`: the machines of this user."""

from __future__ import annotations

import argparse
import json
import time

GROUP = "do"
HELP = "the running machines of yours"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code 1 when no machine is running."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.foreign import sentence
    from bareflow_gdb.guest.base.values import word
    from bareflow_gdb.guest.boot.wait import last_stage, last_words, still
    from bareflow_gdb.qemu import directory
    from bareflow_gdb.qemu.leftovers import is_owned_folder, leftovers
    from bareflow_gdb.qemu.machine import Machine

    running, ended = Machine.all(), Machine.stale()
    if options.json:
        rows = [{**machine.record(), "running": machine.alive()} for machine in running + ended]
        rows += [{"name": name, "running": False, "damaged": why} for name, why in Machine.damaged()]
        print(json.dumps(rows, indent=2))
        return 0 if running else 1
    for machine in running:
        # The clock may have been set back since.
        age = max(0, int(time.time() - machine.created))
        stage = word("bf_boot_stage", last_stage(machine))
        image = sentence(str(machine.image))
        print(f"{machine.name:<16} process {machine.pid:<8} {age:>6} s  stage {stage:<11} {image}")
        if why := still(machine):
            print(f"{'':<16} {why}")
    for machine in ended:
        hint = f"`bareflow stop {machine.name}` cleans up"
        print(f"{machine.name:<16} QEMU has ended; {sentence(last_words(machine))}; {hint}")
    for name, why in Machine.damaged():
        # What belongs to somebody else is not removed.
        hint = f"; `bareflow stop {name}` removes it" if is_owned_folder(directory.root() / name) else ""
        print(f"{name:<16} {sentence(why)}{hint}")
    for left in leftovers():
        print(f"{sentence(left.name):<16} {sentence(str(left))}; `bareflow stop --all` cleans up")
    if not running:
        print("no machine is running; `bareflow run` starts one")
    return 0 if running else 1
