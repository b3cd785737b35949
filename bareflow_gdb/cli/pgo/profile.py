"""`bareflow pgo profile`: what does each module cost? Boots a kernel and takes it, or asks a target for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli import pgo_words as words
from bareflow_gdb.cli.completers import completed, targets
from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.pgo.profile import Profile

HELP = "take a profile: boot the kernel, or ask a machine, a core, a trace or a serial log"
SERIAL, MEMORY = "serial", "memory"


def configure(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="machine, core, dump, trace or serial log (default: boots --image)"
    )
    completed(target, targets)
    words.add_image(parser)
    parser.add_argument(
        "--of",
        choices=("modules", "functions"),
        default="modules",
        help="the modules' own tests, a few calls each, or the functions of the adaptive run (default modules)",
    )
    parser.add_argument(
        "--from", dest="source", choices=(SERIAL, MEMORY), help="the JSON on COM1, or the records in memory (serial)"
    )
    parser.add_argument("--cycles", action="store_true", help="boot without -icount: cycles instead of instructions")
    parser.add_argument("--counters", action="store_true", help="also boot a kernel that counts the blocks of its code")
    parser.add_argument("--arguments", action="store_true", help="with --counters: count the arguments of calls, too")
    parser.add_argument("--out", type=Path, default=words.PROFILE, metavar="FILE", help=f"default {words.PROFILE}")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.pgo import profile_view

    found = _booted(options) if options.target is None else _asked(options)
    found.write(options.out)
    if options.json:
        print(dumps(found.to_json()))
    else:
        words.show(profile_view(found))
        words.tell(f"written to {options.out}")
    return 0


def _booted(options: argparse.Namespace) -> Profile:
    from bareflow_gdb.pgo import measure
    from bareflow_gdb.pgo.iterate import Workshop, signed

    if options.source == MEMORY:
        raise UsageError("--from memory is for a machine, a core or a trace; name one")
    if options.arguments and not options.counters:
        raise UsageError("arguments are counted together with blocks; give --counters, too")
    firmware = words.firmware(options)
    found = signed(measure.profile_of(firmware.image, options.of, cycles=options.cycles), firmware)
    if options.counters:
        with Workshop(firmware) as workshop:
            found = found.counted(workshop.count(firmware.names(), arguments=options.arguments)[0])
    return found


def _asked(options: argparse.Namespace) -> Profile:
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.pgo import profile

    if options.cycles or options.counters or options.arguments:
        raise UsageError("--cycles, --counters and --arguments are for a kernel that is booted; leave TARGET out")
    path = Path(options.target)
    if path.is_file() and path.suffix in (".json", ".log", ".txt"):
        return profile.read(path, options.of)
    context = TargetContext(open_target(options.target, wanted="serial"))
    where = context.target.description
    log = context.serial_file
    if options.source != MEMORY and log is not None and log.is_file():
        return profile.read(log, options.of)
    if options.source == SERIAL:
        raise UsageError(f"{where} has no serial log; ask its memory, --from memory")
    kernel = context.guest.kernel()
    if options.of == profile.MODULES:
        return profile.of_modules(kernel.modules(), where)
    return profile.of_functions(kernel.profile(), where)
