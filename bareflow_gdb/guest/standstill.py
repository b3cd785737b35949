"""Why does a guest not answer? It is dead, or its machine is stopped.

Each answer is the end of a sentence, with the next step; "" when the guest runs, as far as can be seen.
"""

from __future__ import annotations

import re
from contextlib import suppress

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.machine.exception import read_exception
from bareflow_gdb.memory.protocol import Memory

_STATUS = re.compile(r"VM status: (\w+)(?: \((\w[\w -]*)\))?")

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


def standstill(memory: Memory, root: Root | None = None) -> str:
    """Why the guest does nothing now."""
    return stopped_for_good(memory, root) or stopped_machine(memory)


def stopped_for_good(memory: Memory, root: Root | None = None) -> str:
    """Why the guest will never answer again. One read when it is not so."""
    with suppress(BareflowError):
        if stage_of(memory) != layouts.const("BF_STAGE_HALTED"):
            return ""
        if root is not None and root.exception:
            record = read_exception(memory, root)
            if record.count:
                where = f"{record.name} at 0x{record.registers.eip:08x}"
                return f"the guest took {where} and has stopped for good; `bareflow exception` shows its registers"
        return "the guest has stopped for good; `bareflow boot` shows what was wrong, `bareflow log` its last words"
    return ""


def stopped_machine(memory: Memory) -> str:
    """What QEMU says when the machine does not run; "" also when there is no QEMU to ask."""
    if not memory.live:
        return ""
    try:
        told = _STATUS.search(memory.monitor("info status"))
    except BareflowError:
        return ""
    if told is None or told[1] == "running":
        return ""
    state = told[2] or told[1]
    return _STOPPED.get(state, _PAUSED.format(state))
