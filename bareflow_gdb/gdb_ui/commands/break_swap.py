"""`bf break-swap` and `bf watch`: stop at each swap, or at chosen ones, before the store or after it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass

import gdb

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import swap_words
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.guest.base.values import TIERS, Address
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
    which: str = ""
    """Of the swaps of that function, as words."""


@command(
    "break-swap",
    needs=Session.require_stopped,
    example="bf break-swap primes",
    arguments=(
        argument("function", nargs="?", metavar="FUNCTION", names=FUNCTIONS, help="its swaps only"),
        argument("--to", choices=TIERS, help="swaps to this tier only"),
        argument("--nth", type=int, default=1, metavar="N", help="from the N-th of them on"),
        argument("--when", metavar="EXPR", help="only when this expression of gdb's is true before the store"),
    ),
    show=lambda record: _text(record),
)
def break_swap(options: argparse.Namespace, session: Session) -> SwapBreakpoint:
    """Stop at each swap, before the store that publishes the new code.

    An ordinary breakpoint of gdb, listed and deleted as any other; it goes with the connection. A kernel whose
    publishing store is inlined gets watchpoints on the code pointers instead, which stop after the store.
    In EXPR, at the store, $edx is the address of the code pointer, $eax the new code, and $bf_calls("primes") counts
    calls: --when '$bf_calls("primes") > 5000'.
    """
    if options.nth < 1:
        raise UsageError(f"--nth {options.nth}: swaps are counted from 1")
    try:
        store = publish_store(session)
    except BareflowError:
        return _watch_slot(session, options.function, options)
    of_function = () if options.function is None else (f"$edx == {slot_of(session, options.function):#x}",)
    breakpoint = gdb.Breakpoint(f"*0x{store:x}")
    try:
        _choose(breakpoint, options, "$eax", of_function)
    except BaseException:
        breakpoint.delete()
        raise
    # The words come after gdb's own, by a command of the breakpoint: nothing is read in its stop().
    breakpoint.commands = "if $_bf_swapped(0)\nend"
    session.bound.append(breakpoint)
    return SwapBreakpoint(breakpoint.number, 1, options.function or "", "breakpoint", Address(store), _which(options))


def _choose(breakpoint: gdb.Breakpoint, options: argparse.Namespace, code: str, also: Iterable[str] = ()) -> None:
    """Lets it stop at the swaps that are wanted; `code` is gdb's expression for the new code. Raises gdb.error."""
    conditions = [*also]
    if options.to is not None:
        conditions.append(f"$bf_tier({code}) == {TIERS.index(options.to)}")
    if options.when is not None:
        conditions.append(f"({options.when})")
    if conditions:
        chosen = " && ".join(conditions)
        breakpoint.condition = chosen
    breakpoint.ignore_count = options.nth - 1


def _which(options: argparse.Namespace) -> str:
    to = "" if options.to is None else f" to {options.to}"
    since = "" if options.nth == 1 else f", from number {options.nth} on"
    return f"{to}{since}" + ("" if options.when is None else f", when {options.when}")


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


def _watch_slot(session: Session, function: str | None, options: argparse.Namespace | None = None) -> SwapBreakpoint:
    """A write watchpoint on a function's code pointer, or on those of all; raises BareflowError."""
    if options is not None and options.nth > 1 and function is None:
        raise UsageError("each function has a watchpoint of its own here: name the function that --nth counts swaps of")
    slots = session.guest.kernel().slots()
    names = [function] if function is not None else list(slots)
    if not names:
        raise BareflowError("no function is registered yet, so there is no code pointer to watch")
    for name in names:
        slot = slot_of(session, name)
        # 32 bits, shown as an address: the guest is i386 even where QEMU's CPU model is x86-64.
        place = f"(void *) *(unsigned int *) 0x{slot:x}"
        last = gdb.Breakpoint(place, gdb.BP_WATCHPOINT, gdb.WP_WRITE)
        if options is not None:
            try:
                _choose(last, options, f"*(unsigned int *) 0x{slot:x}")
            except BaseException:
                last.delete()
                raise
        last.commands = f"if $_bf_swapped(0x{slot:x})\nend"
        swap_words.expect(session, slot)
        session.bound.append(last)
    which = "" if options is None else _which(options)
    return SwapBreakpoint(last.number, len(names), function or "", "watchpoint", Address(slot), which)


def _text(record: SwapBreakpoint) -> str:
    whose = record.function or "any function"
    if record.count > 1:
        first = record.number - record.count + 1
        return f"watchpoints {first} to {record.number} stop after each swap of {whose}{record.which}"
    return f"{record.kind} {record.number} at 0x{record.address:08x} stops at each swap of {whose}{record.which}"
