"""`bf refresh`: read the TUI windows again."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session


@dataclass(frozen=True)
class Refreshed:
    """How many windows were drawn."""

    windows: int


@command("refresh", needs=Session.require, example="bf refresh", show=lambda record: f"{record.windows} windows read")
def refresh(options: argparse.Namespace, session: Session) -> Refreshed:  # noqa: ARG001 - every command has both
    """Read the windows swaps, profile and pools again.

    `layout bareflow` shows them. On machines of `bareflow run` they follow every stop by themselves; over a bare
    gdbstub they would cost packets, so there they are read when opened and by this command.
    """
    from bareflow_gdb.gdb_ui import plugin

    windows = plugin.windows()
    if windows is None or not windows.shown:
        raise UsageError("no window of BareFlow is shown; `layout bareflow` shows them")
    return Refreshed(windows.refresh())
