"""`bareflow doctor`: what works here, what does not, why, and what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.guest.doctor import Check
    from bareflow_gdb.memory.protocol import Memory

HELP = "which parts work here, which do not, why, and what to do"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.ask import add_elf
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    add_elf(parser)
    parser.add_argument("--host", action="store_true", help="look at this host only, at no guest")
    parser.epilog = "Exit code 1 when something fails."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.host_tools import check_host
    from bareflow_gdb.guest.doctor import LIMITED, Check, diagnosis
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.render.doctor import doctor
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.tables import WIDTH
    from bareflow_gdb.render.text import wants_colour

    checks = check_host()
    if not options.host:
        if options.target is None and not Machine.all():
            checks.append(Check("guest", LIMITED, "no machine is running", "`bareflow run` starts one"))
        else:
            checks += _guest(options)
    record = diagnosis(checks)
    if options.json:
        print(dumps(record))
    else:
        colour = wants_colour(sys.stdout)
        width = shutil.get_terminal_size((WIDTH, 40)).columns if colour else WIDTH
        print(doctor(record, width, colour))
    return 0 if record.healthy else 1


def _guest(options: argparse.Namespace) -> list[Check]:
    from bareflow_gdb.cli.ask import attach
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.errors import BareflowError
    from bareflow_gdb.guest.doctor import FAILS, WORKS, Check, check_guest

    try:
        target = open_target(options.target)
        guest = attach(options, target)
    except BareflowError as error:
        return [Check("guest", FAILS, str(error))]
    checks = [Check("guest", WORKS, target.description), *check_guest(guest)]
    if options.elf is not None:
        checks.append(_elf(options.elf, guest.memory))
    return checks


def _elf(path: Path, memory: Memory) -> Check:
    from bareflow_gdb.guest.doctor import FAILS, WORKS, Check, attempt
    from bareflow_gdb.guest.names.elf_check import check_elf, load_elf

    def look() -> Check:
        found = check_elf(memory, load_elf(path))
        return Check("ELF", WORKS if found.same else FAILS, found.verdict)

    return attempt("ELF", look)
