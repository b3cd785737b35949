"""Why does a guest not answer? It is dead, or its machine is stopped.

Each answer is the end of a sentence, with the next step; "" when the guest runs, as far as can be seen.
"""

from __future__ import annotations

from contextlib import suppress

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.boot.boot import read_boot, stage_of
from bareflow_gdb.guest.boot.stopped import stopped_machine
from bareflow_gdb.guest.machine.exception import read_exception
from bareflow_gdb.memory.protocol import Memory


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
        if read_boot(memory, root).done:
            return "its application is done, and the guest has halted; start it anew with `run --hold` to be in time"
        return "the guest has stopped for good; `bareflow boot` shows what was wrong, `bareflow log` its last words"
    return ""
