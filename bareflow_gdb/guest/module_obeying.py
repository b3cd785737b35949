"""How long is a running guest waited for that was given an order about a module?"""

from __future__ import annotations

import time

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest import module_orders
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.module_orders import ModuleAnswer, ModuleOrder
from bareflow_gdb.guest.obeying import POLL_SECONDS
from bareflow_gdb.guest.standstill import standstill
from bareflow_gdb.memory.protocol import Memory


def carried_out(memory: Memory, root: Root, order: ModuleOrder, timeout: float) -> ModuleAnswer:
    """Gives the order and waits for what comes of it; raises BareflowError when nothing does."""
    module_orders.give(memory, order)
    deadline = time.monotonic() + timeout
    ended = False
    try:
        while time.monotonic() < deadline:
            if (record := module_orders.answer(memory, root, order)) is not None:
                ended = True
                return record
            time.sleep(POLL_SECONDS)
    finally:
        if not ended:
            # Nobody waits for it any more: the guest is not to do it some time later.
            module_orders.withdraw(memory, order)
    raise BareflowError(no_answer(memory, root, timeout))


def no_answer(memory: Memory, root: Root, timeout: float) -> str:
    """The sentence about an order that was taken back."""
    why = standstill(memory, root) or "does a function of it never return (`bareflow status`)?"
    return f"the guest came to no safe point within {timeout:g} s, and the order is taken back; {why}"
