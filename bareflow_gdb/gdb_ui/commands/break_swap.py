"""`bf break-swap` and `bf watch`: stop at each swap, before the store or after it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import swap_words
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.questions.question import FUNCTIONS, argument


@dataclass(frozen=True)
class SwapBreakpoint:
    """What was set, and where."""

    number: int
    """Of the breakpoint; of the last one when each function got its own."""
    count: int
    function: str
    """"" = any."""
    kind: str
    address: Address


@command(
    "break-swap",
    needs=Session.require_stopped,
    example="bf break-swap primes",
    arguments=(argument("function", nargs="?", metavar="FUNCTION", names=FUNCTIONS, help="its swaps only"),),
    show=lambda record: _text(record),
)
def break_swap(options: argparse.Namespace, session: Session) -> SwapBreakpoint:
    """Stop at each swap, before the store that publishes the new code.

    An ordinary breakpoint of gdb, listed and deleted as any other; it goes with the connection. A kernel whose
    publishing store is inlined gets watchpoints on the code pointers instead, which stop after the store.
    """
    try:
        store = publish_store(session)
    except BareflowError:
        return _watch_slot(session, options.function)
    breakpoint = gdb.Breakpoint(f"*0x{store:x}")
    if options.function is not None:
        try:
            breakpoint.condition = f"$edx == {slot_of(session, options.function):#x}"
        except BaseException:
            breakpoint.delete()
            raise
    # The words come after gdb's own, by a command of the breakpoint: nothing is read in its stop().
    breakpoint.commands = "if $_bf_swapped(0)\nend"
    session.bound.append(breakpoint)
    return SwapBreakpoint(breakpoint.number, 1, options.function or "", "breakpoint", Address(store))


@command(
    "watch",
    needs=Session.require_stopped,
    example="bf watch primes",
    arguments=(argument("function", metavar="FUNCTION", names=FUNCTIONS, help="whose code pointer to watch"),),
    show=lambda record: (
        f"watchpoint {record.number} on the code pointer of {record.function} at 0x{record.address:08x}: "
        "stops after each store that changes it"
    ),
)
def watch(options: argparse.Namespace, session: Session) -> SwapBreakpoint:
    """Stop after each change of a function's published code pointer, whoever makes it.

    Works on stock kernels too, where the swap is inlined and no breakpoint finds it. An ordinary watchpoint of
    gdb, listed and deleted as any other; it goes with the connection.
    """
    return _watch_slot(session, options.function)


def _watch_slot(session: Session, function: str | None) -> SwapBreakpoint:
    """A write watchpoint on a function's code pointer, or on those of all; raises BareflowError."""
    slots = session.guest.kernel().slots()
    names = [function] if function is not None else list(slots)
    if not names:
        raise BareflowError("no function is registered yet, so there is no code pointer to watch")
    for name in names:
        slot = slot_of(session, name)
        # 32 bits, shown as an address: the guest is i386 even where QEMU's CPU model is x86-64.
        place = f"(void *) *(unsigned int *) 0x{slot:x}"
        last = gdb.Breakpoint(place, gdb.BP_WATCHPOINT, gdb.WP_WRITE)
        last.commands = f"if $_bf_swapped(0x{slot:x})\nend"
        swap_words.expect(session, slot)
        session.bound.append(last)
    return SwapBreakpoint(last.number, len(names), function or "", "watchpoint", Address(slot))


def _text(record: SwapBreakpoint) -> str:
    whose = record.function or "any function"
    if record.count > 1:
        first = record.number - record.count + 1
        return f"watchpoints {first} to {record.number} stop after each swap of {whose}"
    return f"{record.kind} {record.number} at 0x{record.address:08x} stops at each swap of {whose}"
