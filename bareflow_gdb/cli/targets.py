"""What is TARGET? A machine's name, a gdbstub's address, or a file recognised by its content."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli.target import Target, machine_target
from bareflow_gdb.errors import BareflowError, UsageError

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine


def asked_target(options: argparse.Namespace, wanted: str = "") -> Target:
    """The target of a command line with the words of `add_target` and --base; what is odd about it is said on stderr.

    wanted: the kind of file that the verb is about, for `recognise.open_path`.
    """
    target = open_target(options.target, options.base, wanted)
    for note in target.notes:
        print(f"bareflow: {note}", file=sys.stderr)
    return target


def open_target(text: str | None, base: int | None = None, wanted: str = "") -> Target:
    """The target that `text` names (None: the only or newest machine); raises UsageError or Unreachable.

    A machine's name comes before a file's: `./NAME` is the file.
    """
    from bareflow_gdb.cli import recognise
    from bareflow_gdb.qemu.machine import Machine

    if base is not None and (text is None or text.startswith(("tcp:", "unix:"))):
        raise UsageError("--base is for a raw dump of memory; give its file")
    if text is None:
        return machine_target(Machine.find(None))
    if text.startswith(("tcp:", "unix:")):
        from bareflow_gdb.memory.choose import for_stub

        for machine in Machine.all():
            if text == f"unix:{machine.gdb_socket}":
                # The same guest through its RAM: it need not be stopped.
                return machine_target(machine)
        return Target("gdbstub", f"the gdbstub at {text}", source=for_stub(text))
    if not text.strip():
        raise UsageError("the target is empty; give a machine's name (`bareflow list`) or a file")
    path = Path(text)
    if base is not None or "/" in text:
        if not path.exists():
            raise UsageError(f"{text} does not exist; give a machine's name (bareflow list) or a file")
        return recognise.open_path(path, base, wanted)
    there = path.exists()
    named = _machine_named(text, there)
    if named is None and there:
        return recognise.open_path(path, base, wanted)
    target = machine_target(named or Machine.find(text))
    both = f"{text} is a machine here and a file too: this is the machine, ./{text} is the file"
    return replace(target, notes=(both,)) if there else target


def _machine_named(name: str, is_file: bool) -> Machine | None:
    """None, and no error when there is a file of that name: what is wrong with other machines is not asked then."""
    from bareflow_gdb.qemu.machine import Machine

    try:
        return next((machine for machine in Machine.all() if machine.name == name), None)
    except (BareflowError, OSError):
        if is_file:
            return None
        raise
