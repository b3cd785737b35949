"""What do the scripts of gdb_scripts/ share: arguments, the session, what they wait for, the exit status?

An argument is gdb's convenience variable `$bf_NAME`, else the environment's `BF_NAME`. A script that ends with
another status than 0 ends gdb with it when gdb runs without confirmations, as with -batch; else it is an error
of gdb's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.command import REGISTRY
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import printable
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.render.jsonable import dumps_answer

FINE, NO, COULD_NOT = 0, 1, 2


def run(main: Callable[[Session], int]) -> None:
    """Runs a script with the session of the connection; without one it attaches to `$bf_machine` first."""
    from bareflow_gdb.gdb_ui import plugin

    try:
        if gdb.selected_inferior().connection is None:
            gdb.execute(f"bf attach {argument('machine')}")
        status = main(plugin.current())
        message = ""
    except KeyboardInterrupt:
        status, message = NO, "interrupted"
    except (BareflowError, gdb.error) as error:
        status, message = COULD_NOT, " ".join(str(error).split())
    if message:
        gdb.write(printable(message) + "\n", gdb.STDERR)
    gdb.flush()
    if status and _unattended():
        gdb.execute("set confirm off")
        gdb.execute(f"quit {status}")


def _unattended() -> bool:
    """Is there nobody who would want to go on in this gdb?"""
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return not os.isatty(0) or b"-batch" in words or b"--batch" in words


def argument(name: str, default: str = "") -> str:
    """`$bf_NAME`, else the environment's BF_NAME, else the default."""
    value = gdb.convenience_variable(f"bf_{name}")
    if value is None:
        return os.environ.get(f"BF_{name.upper()}", default)
    try:
        return str(value.string())
    except gdb.error:
        return str(int(value))


def number(name: str, default: int) -> int:
    """The same as a number; raises UsageError."""
    text = argument(name, str(default))
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"$bf_{name} is {text!r}, not a number") from None


def ask(session: Session, question: str, *words: str) -> tuple[str, str]:
    """What `bf QUESTION` answers: as text and as JSON. Raises BareflowError."""
    definition = REGISTRY[question]
    answer = definition.run(definition.parse(" ".join((*words, "--json"))), session)
    text = definition.show(answer.record) if definition.show is not None else ""
    return text, dumps_answer(answer)


@contextmanager
def end_of_run(session: Session) -> Iterator[list[gdb.Breakpoint]]:
    """A watchpoint that stops the guest when its run has ended or it has halted; none for other boot loaders."""
    reached = stage_of(session.memory)
    if reached == 0:
        yield []
        return
    idle = layouts.const("BF_STAGE_IDLE")
    if reached >= idle:
        raise BareflowError(
            "the run has ended already; start the machine with --hold or --paused, and then this script"
        )
    stage = layouts.const("BF_BOOT_RECORD_ADDRESS") + layouts.offset("bf_boot_record", "stage")
    with running.internal_watchpoint(stage, f"*(unsigned int *) 0x{stage:x} >= {idle}") as watchpoint:
        yield [watchpoint]


@dataclass(frozen=True)
class Swapped:
    """One swap, as the guest is about to make it or, on kernels that inline the store, has made it."""

    number: int
    """Counted from 1 since the script began."""
    function: str
    slot: Address
    old: Address
    new: Address
    level: int | None = None
    """Of the new code; None when it is in no record."""
    version: int | None = None
    reason: str = ""


def swaps(session: Session, function: str = "") -> Iterator[Swapped]:
    """Every swap from now to the end of the run; close it and nothing is left set.

    function: only of this one. Raises BareflowError when something else stops the guest.
    """
    slots = {name: int(slot) for name, slot in session.guest.kernel().slots().items()}
    if function:
        slot_of(session, function)
    with ExitStack() as stack:
        at = _swap_stops(session, stack, slots, function)
        ends = stack.enter_context(end_of_run(session))
        old = _pointers(session, slots)
        count = 0
        while True:
            stop = running.resume()
            session.refresh()
            if any(item in stop.breakpoints for item in ends):
                return
            hits = [item for item in at if item in stop.breakpoints]
            if not hits:
                raise BareflowError(f"{stop} stopped the guest; what came until then is complete")
            swapped = _swapped(session, count + 1, at[hits[0]], slots, old)
            # Now and then gdb stops a second time at a store, before it was made.
            if swapped.old != swapped.new:
                count += 1
                yield swapped


def _swap_stops(session: Session, stack: ExitStack, slots: dict[str, int], function: str) -> dict[gdb.Breakpoint, int]:
    """Internal breakpoints with the slot that each tells of, 0 = EDX has it."""
    try:
        store = publish_store(session)
    except BareflowError:
        wanted = [slots[function]] if function else list(slots.values())
        return {stack.enter_context(running.internal_watchpoint(slot)): slot for slot in wanted}
    condition = f"$edx == {slots[function]}" if function else None
    return {stack.enter_context(running.internal_breakpoint(store, condition)): 0}


def _swapped(session: Session, count: int, slot: int, slots: dict[str, int], old: dict[int, int]) -> Swapped:
    if slot:
        new = read_word(session.memory, slot, "published code pointer")
    else:
        slot, new = running.read_register("edx"), running.read_register("eax")
    before = old.get(slot, 0)
    old[slot] = new
    name = next((name for name, address in slots.items() if address == slot), f"slot 0x{slot:08x}")
    swapped = Swapped(count, name, Address(slot), Address(before), Address(new))
    versions = [v for item in session.guest.kernel().jit().functions for v in item.versions if v.entry == new]
    if not versions:
        return swapped
    newest = max(versions, key=lambda version: version.number)
    return replace(swapped, level=newest.level, version=newest.number, reason=newest.reason)


def _pointers(session: Session, slots: dict[str, int]) -> dict[int, int]:
    return {slot: read_word(session.memory, slot, "published code pointer") for slot in slots.values()}
