"""How does gdb connect to a gdbstub, and what is to be done when it cannot? To each cause its own next step."""

from __future__ import annotations

import re
import time
from pathlib import Path

import gdb

from bareflow_gdb.errors import Unreachable, UsageError
from bareflow_gdb.foreign import printable

_TAKEN = "another debugger is connected to it: end that connection with `detach`, then attach again"
_SETTLE_SECONDS = 1.0
"""QEMU may not have noticed yet that the one before has gone."""
_WRONG_REGISTERS = re.compile(r"Truncated register|packet reply is too long")

# What gdb says, of which kind of address, and what follows from it; the first that fits is told.
_CAUSES = (
    (_WRONG_REGISTERS, "", "gdb takes the guest for another CPU: `set architecture auto`, or load the guest's ELF"),
    (re.compile(r"Permission denied|not permitted"), "", "attach as the user who started the machine"),
    (re.compile(r"Missing port"), "tcp:", "write tcp:HOST:PORT"),
    (re.compile(r"resolve name|Name or service|No such file"), "tcp:", "check the name of the host"),
    (re.compile(r"[Rr]efused|timed out"), "tcp:", "nothing listens there: start QEMU with -s or -gdb tcp::PORT"),
    (re.compile(r"No such file"), "", "`bareflow list` shows the machines that run"),
    (re.compile(r"[Rr]efused"), "", "its QEMU has ended: start the machine again"),
    (re.compile(r"vMustReplyEmpty|[Tt]imed? ?out"), "", _TAKEN),
    (
        re.compile(r"reset|closed|Target disconnected"),
        "",
        "what is there is not a gdbstub, or has ended: check the address",
    ),
)


def connect(address: str) -> str:
    """`target remote`, and what had to be changed for it, "" if nothing; raises Unreachable or UsageError."""
    path = Path(address)
    has = _connected_to()
    if has == address:
        return "gdb was connected to it already"
    # gdb would talk to a file as to a serial line.
    if not address.startswith("tcp:") and path.exists() and not (path.is_socket() or path.is_char_device()):
        raise UsageError(f"{address} is not a socket; `bareflow list` shows the machines that run")
    # Asked first: gdb would wait many times its `remotetimeout` for an answer.
    if stopped := _stopped(address):
        raise Unreachable(f"cannot connect to {address}: {stopped}")
    if path.is_socket() and _stays_taken(address):
        raise Unreachable(f"cannot connect to {address}: {_TAKEN}")
    changed = _let_go(has) if has else ""
    try:
        _target(address)
    except gdb.error as error:
        named = _architecture()
        if not _WRONG_REGISTERS.search(str(error)) or named == "auto":
            raise _cannot(address, error) from error
    else:
        return changed
    gdb.execute("set architecture auto", to_string=True)
    try:
        _target(address)
    except gdb.error as error:
        raise _cannot(address, error) from error
    set_aside = f"the architecture was set to {named}, which has other registers: it is `auto` now"
    return "\n".join(filter(None, (changed, set_aside)))


def _connected_to() -> str:
    """The gdbstub that gdb has, "" if none."""
    connection = gdb.selected_inferior().connection
    return str(connection.details) if isinstance(connection, gdb.RemoteTargetConnection) else ""


def _let_go(address: str) -> str:
    """Left to itself gdb would kill the guest that it has, and with it QEMU."""
    try:
        gdb.execute("detach", to_string=True)
    except gdb.error as error:
        if not _connected_to():
            return f"the guest of {address} had gone"
        raise Unreachable(
            f"gdb has {address}, whose guest runs; stop it with `interrupt`, then attach again ({error})"
        ) from error
    return f"gdb has let go of {address}, whose guest runs on"


def _target(address: str) -> None:
    # The kernel's ELF may not be loaded, and QEMU's CPU model says x86-64 until the first stop.
    gdb.execute(f"target remote {printable(address)}", to_string=True)


def _architecture() -> str:
    """As the user set it."""
    return str(gdb.parameter("architecture"))


def _cannot(address: str, error: gdb.error) -> Unreachable:
    said = " ".join(str(error).split()).rstrip(".").removeprefix(f"{address}: ")[:200]
    return Unreachable(f"cannot connect to {address} ({said}); {_advice(address, said)}")


def _advice(address: str, said: str) -> str:
    fitting = (advice for cause, kind, advice in _CAUSES if cause.search(said) and address.startswith(kind))
    return next(fitting, "`bareflow list` shows the machines that run")


def _stays_taken(path: str) -> bool:
    """Is another one connected, also after a moment?"""
    from bareflow_gdb.memory.listeners import is_taken

    end = time.monotonic() + _SETTLE_SECONDS
    while is_taken(path):
        if time.monotonic() >= end:
            return True
        time.sleep(_SETTLE_SECONDS / 50)
    return False


def _stopped(address: str) -> str:
    """What to do when the machine's process was stopped, by Ctrl-Z or by a debugger of QEMU itself."""
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.qemu.process import is_stopped

    pids = [machine.pid for machine in Machine.all() if str(machine.gdb_socket) == address]
    return f"its QEMU is stopped by a signal: `kill -CONT {pids[0]}` in a shell" if pids and is_stopped(pids[0]) else ""
