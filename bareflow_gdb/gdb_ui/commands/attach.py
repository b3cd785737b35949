"""`bf attach`: connect gdb to a machine by its name, or to any gdbstub."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.completers import MACHINES
from bareflow_gdb.gdb_ui.connecting import connect
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import argument


def gdb_address(target: str | None) -> str:
    """What `target remote` wants for a machine's name, tcp:HOST:PORT or unix:PATH; raises BareflowError."""
    if target is not None and target.startswith("unix:"):
        # A whole path: gdb takes what begins with `|` for a command to run.
        return str(Path(target.removeprefix("unix:").strip()).absolute())
    if target is not None and target.startswith("tcp:"):
        return target
    from bareflow_gdb.qemu.machine import Machine

    return str(Machine.find(target).gdb_socket)


@command(
    "attach",
    example="bf attach demo",
    arguments=(
        argument(
            "target",
            nargs="?",
            metavar="MACHINE",
            names=MACHINES,
            help="machine name, tcp:HOST:PORT or unix:PATH (default: the newest machine)",
        ),
    ),
)
def attach(options: argparse.Namespace, session: Session) -> Any:
    """Connect gdb to a machine, as `target remote` does.

    The guest stops, as gdb's guests do. `bf` commands then read the RAM of a machine of `bareflow run` from
    the host, after its bytes were compared with what gdb sees; any other guest is read through gdb.
    """
    address = gdb_address(options.target)
    changed = connect(address)
    session.say(f"attached to {address}")
    if changed:
        session.say(changed)
