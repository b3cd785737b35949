"""What is TARGET? A machine's name, a gdbstub's address, or a file recognised by its content."""

from __future__ import annotations

from pathlib import Path

from bareflow_gdb.cli.target import Target, machine_target
from bareflow_gdb.errors import UsageError


def open_target(text: str | None) -> Target:
    """The target that `text` names (None: the only or newest machine); raises UsageError or Unreachable."""
    from bareflow_gdb.cli import recognise
    from bareflow_gdb.qemu.machine import Machine

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
    if "/" in text or path.exists():
        if not path.exists():
            raise UsageError(f"{text} does not exist; give a machine's name (bareflow list) or a file")
        return recognise.open_path(path)
    return machine_target(Machine.find(text))
