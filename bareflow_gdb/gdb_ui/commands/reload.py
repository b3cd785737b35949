"""`bf reload`: load the suite again, as after a change of its files."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session

PACKAGE = "bareflow_gdb"
PLUGIN = f"{PACKAGE}.gdb_ui.plugin"


@dataclass(frozen=True)
class Reloaded:
    """What is there now, and what was ended for it."""

    commands: int
    recording_ended: str
    """The trace that was being recorded and is complete now, "" = none."""


@command("reload", example="bf reload", show=lambda record: _text(record))
def reload(options: argparse.Namespace, session: Session) -> Reloaded:  # noqa: ARG001 - every command has both
    """Load the suite again, without leaving anything of the old one: handlers, breakpoints, caches.

    gdb's connection and the user's own breakpoints stay. A recording is completed. When the new files cannot be
    loaded, the suite stays as it was.
    """
    recording = str(session.recording.directory) if session.recording is not None else ""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE}
    old = kept[PLUGIN]
    old.unload()
    for name in kept:
        del sys.modules[name]
    try:
        importlib.import_module(PLUGIN).load()
    except Exception as error:
        # Whatever is wrong with the new files, the old suite goes on.
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(kept)
        old.load()
        raise BareflowError(
            f"the suite's files cannot be loaded ({type(error).__name__}: {error}); it stays as it was"
        ) from error
    registry = sys.modules[f"{PACKAGE}.gdb_ui.command"].REGISTRY
    return Reloaded(len(registry), recording)


def _text(record: Reloaded) -> str:
    ended = f"; the trace {record.recording_ended} is complete" if record.recording_ended else ""
    return f"{record.commands} commands loaded again{ended}"
