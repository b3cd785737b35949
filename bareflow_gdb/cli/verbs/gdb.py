"""`bareflow gdb`: becomes a gdb that has the suite loaded and the target connected."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import gdb_word

if TYPE_CHECKING:
    from bareflow_gdb.memory.protocol import Memory
    from bareflow_gdb.qemu.machine import Machine

GROUP = "do"
HELP = "start gdb with the suite loaded and TARGET connected"
SCRIPT = Path(__file__).resolve().parents[2] / "gdb_ui" / "load.py"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="machine name, tcp:HOST:PORT, unix:PATH or core (default: the newest machine)",
    )
    parser.add_argument("--gdb", metavar="PATH", help="this gdb (default: the environment's gdb 18, else the system's)")
    parser.add_argument("--print-script", action="store_true", help="only name the file to `source` in ~/.gdbinit")
    parser.epilog = "What follows -- goes to gdb: bareflow gdb demo -- -batch -ex 'bf status'"
    parser.set_defaults(passed_on=[])


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.gdb_program import find_gdb

    if not options.print_script:
        program = find_gdb(options.gdb)
        # A guest's build id is nothing to ask a server on the network for; ~/.gdbinit is read later.
        words = [program, "-q", "-iex", "set debuginfod enabled off", "-x", str(SCRIPT)]
        words += [*connection(options.target), *options.passed_on]
        sys.stdout.flush()
        os.execv(program, words)
    print(json.dumps({"script": str(SCRIPT)}) if options.json else SCRIPT)
    return 0


def connection(target: str | None) -> list[str]:
    """The words that give gdb a target and its kernel's ELF; none, with a sentence, when no machine runs."""
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.errors import Unreachable
    from bareflow_gdb.qemu.machine import Machine

    if target is None:
        try:
            return _attach(Machine.find(None))
        except Unreachable as nothing:
            print(f"bareflow gdb: {nothing}, and `bf attach` connects to it", file=sys.stderr)
            return []
    if target.startswith(("tcp:", "unix:")):
        # Not opened: a gdbstub talks to one client, and that is to be gdb.
        named = [machine for machine in Machine.all() if target == f"unix:{machine.gdb_socket}"]
        return _attach(named[0]) if named else ["-ex", f"bf attach {gdb_word(target)}"]
    found = open_target(target)
    if found.machine is not None:
        return _attach(found.machine)
    if found.kind == "core" and found.path is not None:
        return [*_elf(_of_core(found.path, found.memory)), "-c", str(found.path)]
    raise UsageError(f"{found.description} is nothing that gdb connects to; give a machine, a gdbstub or a core")


def _attach(machine: Machine) -> list[str]:
    from bareflow_gdb.guest.names.elf import beside
    from bareflow_gdb.qemu.directory import is_runtime

    # One that was launched with a directory of its own is not found by its name.
    address = machine.name if is_runtime(machine.directory) else f"unix:{machine.gdb_socket}"
    return [*_elf(beside(machine.image)), "-ex", f"bf attach {gdb_word(address)}"]


def _of_core(core: Path, memory: Memory) -> list[Path]:
    """The ELF of the kernel in a core: beside it, or that of the default image, when it is the same build."""
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.guest.names.elf import beside, check_elf, load_elf, with_build_id
    from bareflow_gdb.qemu.default import default_image

    root = Guest.attach(memory).kernel().root
    build_id = root.build_id if root is not None else ""

    def same(elf: Path) -> bool:
        try:
            return check_elf(memory, load_elf(elf), build_id).same
        except BareflowError:
            # gdb takes a core of which the suite can tell nothing.
            return False

    if build_id:
        return [elf for near in (core, default_image()) for elf in with_build_id(near.parent, build_id)]
    return [elf for elf in (*beside(core), *beside(default_image())) if same(elf)]


def _elf(candidates: list[Path]) -> list[str]:
    # Not gdb's positional argument: that is left to the user's own file, and wins.
    return ["-se", str(candidates[0])] if candidates else []
