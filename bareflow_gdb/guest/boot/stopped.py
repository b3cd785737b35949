"""Does a machine stand still though its QEMU runs, why, and how does it go on? As QEMU's own monitor tells it."""

from __future__ import annotations

import re

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine

_STATUS = re.compile(r"VM status: (\w+)(?: \((\w[\w -]*)\))?")
_FLAGS = re.compile(r"\bEFL=([0-9a-f]+)")
_INTERRUPTS_ON = 1 << 9

# QEMU's words (qapi/run-state.json, RunState) whose remedy is not `cont`.
_STOPPED = {
    "debug": "a debugger's breakpoint stopped the machine; `bareflow gdb`, then `detach`, lets it go on when that "
    "debugger is gone",
    "prelaunch": "the machine was started with --paused; let it run from gdb",
    "shutdown": "the machine has been shut down; `bareflow stop` cleans up",
    "internal-error": "QEMU stopped the machine for an internal error; `bareflow stop` ends it",
    "io-error": "QEMU stopped the machine, a disk or its image cannot be written; `bareflow stop` ends it",
    "guest-panicked": "the guest has panicked; `bareflow stop` ends it",
}
_PAUSED = (
    "the machine is stopped ({}), by a debugger or its monitor; continue there, or `bareflow gdb` and `detach` when "
    "nobody holds it"
)


def stopped_machine(memory: Memory) -> str:
    """What QEMU says when the machine does not run; "" also when there is no QEMU to ask."""
    told = _told(memory)
    if told is None or told[1] == "running":
        return ""
    state = told[2] or told[1]
    return _STOPPED.get(state, _PAUSED.format(state))


def runs(memory: Memory) -> bool:
    """Does QEMU say that the machine runs? False also when it cannot be asked."""
    told = _told(memory)
    return told is not None and told[1] == "running"


def _told(memory: Memory) -> re.Match[str] | None:
    if not memory.live:
        return None
    try:
        return _STATUS.search(memory.monitor("info status"))
    except BareflowError:
        return None


def can_wake(machine: Machine) -> bool | None:
    """Can an interrupt wake the CPU, which stands at `hlt`? None: it does not stand there. Raises Unreachable."""
    registers = machine.monitor("info registers")
    flags = _FLAGS.search(registers)
    if flags is None or "HLT=1" not in registers:
        return None
    return bool(int(flags[1], 16) & _INTERRUPTS_ON)
