"""`bareflow doctor`: what works here, what does not, why, and what to do."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.guest.doctor import Check
    from bareflow_gdb.guest.guest import Guest

GROUP = "look"
HELP = "which parts work here, which do not, why, and what to do"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import ELF_HELP, add_target

    add_target(parser, dumps=True)
    parser.add_argument("--elf", type=Path, metavar="FILE", help=ELF_HELP)
    parser.add_argument("--host", action="store_true", help="look at this host only, at no guest")
    parser.epilog = "Exit code 1 when something fails."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.host_tools import check_host
    from bareflow_gdb.guest.doctor import LIMITED, Check, diagnosis
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.render.doctor import doctor
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import WIDTH, wants_colour

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
    from bareflow_gdb.checks.registry import findings
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import asked_target
    from bareflow_gdb.errors import BareflowError
    from bareflow_gdb.guest.doctor import FAILS, WORKS, Check, check_guest

    try:
        target = asked_target(options)
        context = TargetContext(target, options.elf)
        guest = context.guest
    except BareflowError as error:
        return [Check("guest", FAILS, str(error))]
    checks = [Check("guest", WORKS, target.description), *check_guest(guest), findings(context.subject())]
    if options.elf is not None:
        checks.append(_elf(options.elf, guest))
    return checks


def _elf(path: Path, guest: Guest) -> Check:
    from bareflow_gdb.guest.doctor import FAILS, LIMITED, WORKS, Check, attempt
    from bareflow_gdb.guest.names.elf import check_elf, load_elf

    def look() -> Check:
        build_id = guest.root().build_id if guest.found_by else ""
        found = check_elf(guest.memory, load_elf(path), build_id)
        state = WORKS if found.same else LIMITED if found.absent else FAILS
        return Check("ELF", state, found.verdict)

    return attempt("ELF", look)
