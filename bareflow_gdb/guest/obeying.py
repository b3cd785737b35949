"""How long is a running guest waited for that was given an order, and what is said when it does not answer?"""

from __future__ import annotations

import time
from contextlib import suppress

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest import orders
from bareflow_gdb.guest.base.control import STANDING
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.boot.stopped import stopped_machine
from bareflow_gdb.guest.orders import Obeyed, Order
from bareflow_gdb.guest.standstill import standstill
from bareflow_gdb.memory.protocol import Memory

POLL_SECONDS = 0.002
SLOW_POLL_SECONDS = 0.2
"""How often QEMU is asked whether the machine runs at all."""


def carried_out(memory: Memory, root: Root, order: Order, timeout: float) -> Obeyed:
    """Gives the order and waits for what comes of it; raises BareflowError when nothing does."""
    orders.give(memory, order)
    try:
        record = _awaited(memory, root, order, timeout)
    except BaseException:
        # Nobody waits for it any more: the guest is not to do it some time later.
        with suppress(BareflowError):
            orders.withdraw(memory, order)
        raise
    if record is None:
        raise BareflowError(no_answer(memory, root, order, timeout))
    return record


def _awaited(memory: Memory, root: Root, order: Order, timeout: float) -> Obeyed | None:
    """None when the time is over."""
    start = next_look = time.monotonic()
    while time.monotonic() - start < timeout:
        if (record := orders.answer(memory, root, order)) is not None:
            return record
        if order.action in STANDING and time.monotonic() >= next_look:
            next_look = time.monotonic() + SLOW_POLL_SECONDS
            if stopped_machine(memory):
                # The guest reads the word before its next swap, whenever that is.
                return orders.stands(memory, root, order)
        time.sleep(POLL_SECONDS)
    return None


def no_answer(memory: Memory, root: Root, order: Order, timeout: float) -> str:
    """Takes an order back that was not carried out; the sentence that says how far it got."""
    if orders.open_at_host(memory, root, order):
        return (
            f"the guest has no such tier of {order.function.name} and asks the host for it, which did not answer "
            f"within {timeout:g} s: `bareflow serve` does"
        )
    orders.withdraw(memory, order)
    why = standstill(memory, root) or "does a function of it never return (`bareflow status`)?"
    if order.action in STANDING:
        return f"the word is written, but the guest came to no safe point within {timeout:g} s; {why}"
    return f"the guest came to no safe point within {timeout:g} s, and the order is taken back; {why}"
