"""`bareflow pgo cpu`: the compiler's flags for a CPU, and whether the guest's CPU has what such code needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bareflow_gdb.cli import pgo_words as words
from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.cli.completers import completed
from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine

HELP = "the compiler's flags for a CPU; refuses what the guest's CPU lacks, by name"
QEMU_SAFE = "i686"


def configure(parser: argparse.ArgumentParser) -> None:
    cpu = parser.add_argument("cpu", nargs="?", metavar="CPU", help="as -march takes it: i686, pentium3, core2, …")
    completed(cpu, _cpus)
    parser.add_argument("--qemu-safe", action="store_true", help=f"{QEMU_SAFE}, which every QEMU has")
    add_machine(parser, "--machine", nargs=None, help="whose CPU is asked by its CPUID")


def _cpus(**_: object) -> list[str]:
    from bareflow_gdb.pgo.cpu import NEEDS

    return list(NEEDS)


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.pgo.cpu import flags_for
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.render.jsonable import dumps

    if (options.cpu is None) != options.qemu_safe:
        raise UsageError("give a CPU, or --qemu-safe")
    machine: Machine | None = Machine.find(options.machine) if options.machine else None
    found = flags_for(options.cpu or QEMU_SAFE, machine)
    if options.json:
        print(dumps(found))
    else:
        print(" ".join(found.flags))
        words.tell(f"needs {', '.join(found.needs) or 'nothing'}" + (f"; {found.guest} has it" if found.guest else ""))
    return 0
