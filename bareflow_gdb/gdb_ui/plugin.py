"""What happens when the script is sourced? Commands are registered and event counters hooked; nothing else.

No guest, no ELF, no debug information is needed, and no packet is sent: parsers, tables and the disassembler
are imported when they are first used.
"""

from __future__ import annotations

import importlib
import pkgutil

import gdb

from bareflow_gdb.gdb_ui import ask, breakpoints, commands, frames, functions, hooks, printers, sources, stop_names
from bareflow_gdb.gdb_ui.command import REGISTRY, GdbCommand
from bareflow_gdb.gdb_ui.dap import quiet_server
from bareflow_gdb.gdb_ui.kernel_hook import AtKernelFunction
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.sessions import MonitoredFunction, Sessions
from bareflow_gdb.gdb_ui.swap_words import SwappedFunction
from bareflow_gdb.gdb_ui.windows import Windows

PREFIXES = ("bareflow", "bf")

_PREFIX_HELP = """BareFlow: boot stages, modules, JIT pools, profilers and code swaps of the guest.

Attach with gdb's own `target remote`, or with `bf attach MACHINE`. Every command has --json and a help.
In scripts: after `set bareflow exit-on-error on` a bf command that fails ends gdb with status 2, and with
status 1 when its answer is no (gdb itself goes on and exits with 0).
"""


class Prefix(gdb.Command):
    """`bareflow` and its short form `bf`."""

    def __init__(self, name: str) -> None:
        self.__doc__ = _PREFIX_HELP
        super().__init__(name, gdb.COMMAND_DATA, gdb.COMPLETE_COMMAND, True)


class _SetPrefix(gdb.Command):
    """Settings of the BareFlow commands."""

    def __init__(self, name: str) -> None:
        super().__init__(name, gdb.COMMAND_DATA, gdb.COMPLETE_COMMAND, True)


class ExitOnError(gdb.Parameter):
    """Whether a bf command that fails ends gdb with an exit status.

    gdb itself goes on after an error in a script, and then exits with status 0."""

    set_doc = "Set whether a bf command that fails ends gdb (status 2; 1 when the answer is no)."
    show_doc = "Show whether a bf command that fails ends gdb."

    def __init__(self) -> None:
        super().__init__("bareflow exit-on-error", gdb.COMMAND_DATA, gdb.PARAM_BOOLEAN)
        self.value = False

    def get_set_string(self) -> str:
        return ""

    def get_show_string(self, value: str) -> str:
        return f"A bf command that fails ends gdb: {value}."


_sessions: Sessions | None = None
_follow: breakpoints.FollowFunction | None = None
_windows: Windows | None = None


def load() -> None:
    """Registers everything; once per sourcing."""
    global _sessions, _follow, _windows
    _sessions = sessions = Sessions()
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"{commands.__name__}.{module.name}")
    ask.register()
    _SetPrefix("set bareflow")
    _SetPrefix("show bareflow")
    ExitOnError()
    for prefix in PREFIXES:
        Prefix(prefix)
        for definition in REGISTRY.values():
            GdbCommand(prefix, definition, sessions.current)
    functions.register(sessions.current)
    frames.register(sessions.current, sessions.peek)
    printers.register()
    stop_names.StoppedFunction(sessions.current)
    MonitoredFunction(sessions.monitored)
    sources.find_sources()
    _follow = breakpoints.FollowFunction(sessions.current)
    _follow.connect()
    SwappedFunction(sessions.current)
    AtKernelFunction(sessions.current)
    _windows = Windows(sessions.current, sessions.peek)
    _windows.register()
    quiet_server.connect()
    sessions.connect()


def current() -> Session:
    """The session of the connection that gdb has now, for scripts."""
    assert _sessions is not None, "the suite is not loaded"
    return _sessions.current()


def unload() -> None:
    """Forgets every session and unhooks the counters, so that sourcing again leaves nothing double."""
    if _sessions is not None:
        _sessions.disconnect()
    if _follow is not None:
        _follow.disconnect()
    quiet_server.disconnect()
    if _windows is not None:
        _windows.unregister()
    frames.unregister()
    hooks.take_back()
    printers.unregister()


def windows() -> Windows | None:
    """The TUI windows; None before `load`."""
    return _windows
