"""How is a function's swap vetoed, allowed, forced or rolled back, and what did the guest make of that?

`veto` and `allow` are words that stand: the guest reads them before each swap. `force` and `rollback` are orders: the
guest carries one out at its next safe point, and changes the word when it has. Nothing here waits: `answer` looks once.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.control import ALLOW, FORCE, ROLLBACK, STANDING, VETO
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import TIERS, Address, code_name, word
from bareflow_gdb.guest.code.functions import Function, Version, read_functions, read_tables
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.standstill import stopped_for_good
from bareflow_gdb.memory.protocol import Memory

_VERSION = re.compile(r"#?\d{1,10}")

_WHY = {
    "cancelled": "another request of this function is open in the mailbox; wait until it has ended",
    "no_bitcode": "the guest has no such tier of it, and no bitcode to have one compiled from",
    "no_memory": "its pools have no room for the code; `pools` shows them",
    "bad_bounds": "there is no such level",
    "link_failed": "the tier's image does not fit the loaded module; `log` says more",
    "rollback": "that version is not a retired one of this function",
    "vetoed": "its swaps are vetoed",
}


@dataclass(frozen=True)
class Order:
    """What is asked of the guest, and how things stood before."""

    function: Function
    action: str
    argument: int
    """The level of a force, the version of a rollback."""
    slot: MailSlot
    doorbell: Address

    @property
    def wanted(self) -> str:
        """`primes@O2`, `primes #3`, or the function alone."""
        name = self.function.name
        if self.action == FORCE:
            return code_name(name, self.argument)
        return f"{name} #{self.argument}" if self.action == ROLLBACK else name

    @property
    def word(self) -> Address:
        """Where its control word is."""
        return Address(self.slot.address + layouts.offset("bf_mail_slot", "control"))


@dataclass(frozen=True, kw_only=True)
class Obeyed:
    """What became of an order."""

    function: str
    action: str
    wanted: str
    done: bool
    """The guest did it, or the word stands."""
    reason: str = ""
    """Why it did not, as a word of enum bf_reason."""
    message: str = ""
    """The same as a sentence; of one that is done, what else is to be known."""
    level_before: int
    version_before: int
    level: int
    version: int
    control: str
    """The control word as it is now."""


def takes(action: str, text: str) -> bool:
    """May this word stand behind the function: a tier after force, a version after rollback?"""
    return text in TIERS if action == FORCE else action == ROLLBACK and _VERSION.fullmatch(text) is not None


def order(memory: Memory, root: Root, action: str, name: str, what: str | None) -> Order | Obeyed:
    """The order, or the answer where it is known before the guest is asked. Raises UsageError, BareflowError."""
    memory.invalidate()
    if dead := stopped_for_good(memory, root):
        raise BareflowError(f"nothing is swapped any more: {dead}")
    tables = read_tables(memory, root, [], every=True, causes=False)
    function = _find(tables.functions, name)
    if what is not None and not takes(action, what):
        right = {FORCE: "a tier (O0 to O3)", ROLLBACK: "the number of a version"}.get(action, "nothing")
        raise UsageError(f"{action} takes {right} after the function, not {what!r}")
    slot = _slot(memory, root, tables.functions, function)
    doorbell = Address(need(root, "mailbox", "mailbox") + layouts.offset("bf_mailbox", "doorbell"))
    argument, no = 0, ""
    if action == FORCE:
        if what is None:
            raise UsageError(f"which tier? for instance `swap force {name} O2`")
        argument = TIERS.index(what)
    elif action == ROLLBACK:
        argument, no = _rolled_back(function, tables.needed(), what)
    made = Order(function, action, argument, slot, doorbell)
    if no:
        return _obeyed(made, function, slot.control, done=False, reason=ROLLBACK, message=no)
    if slot.control not in STANDING and action != ALLOW:
        raise BareflowError(
            f"an order to {slot.control} {name} is open already; wait for it, or take it back with `swap allow {name}`"
        )
    if action == FORCE and function.level == argument:
        return _obeyed(made, function, slot.control, done=True, message="it is there already; nothing was asked for")
    return made


def give(memory: Memory, order: Order) -> None:
    """Writes the word, its argument before it, and rings."""
    if order.action not in STANDING:
        at = order.slot.address + layouts.offset("bf_mail_slot", "control_argument")
        memory.write(at, struct.pack("<I", order.argument), "control argument")
    _set(memory, order, order.action)
    memory.write(order.doorbell, struct.pack("<I", 1), "doorbell")
    memory.invalidate()


def answer(memory: Memory, root: Root, order: Order) -> Obeyed | None:
    """What became of it; None while the guest has not come to it. A word that was refused is put back."""
    memory.invalidate()
    functions = read_functions(memory, root, read_counters(memory, root), [])
    slot = _slot(memory, root, functions, order.function)
    if order.action in STANDING:
        if slot.control != order.action:
            return _obeyed(order, functions[slot.index], slot.control, done=False, message="another host set the word")
        rung = int.from_bytes(memory.read(order.doorbell, 4, "doorbell"), "little")
        return None if rung else stands(memory, root, order)
    if slot.control == order.action:
        return None
    # Each is the guest's last store: the word, and, where it asks the host, the slot's state after that. What it did is
    # in its tables by then, so they are read when both have been seen, never before.
    memory.invalidate()
    slot = _slot(memory, root, functions, order.function)
    if _is_open_at_host(order, slot):
        return None
    memory.invalidate()
    functions = read_functions(memory, root, read_counters(memory, root), [])
    now = functions[slot.index]
    if _reached(order, now):
        return _obeyed(order, now, slot.control, done=True, message=_afterwards(order))
    reason = slot.done_reason if _asks_host(order, slot) else slot.refusal
    _set(memory, order, order.slot.control)
    said = "it does not say why; `log` shows what it did" if reason == "none" else _why(reason)
    return _obeyed(order, now, order.slot.control, done=False, reason=reason, message=f"the guest refused: {said}")


def stands(memory: Memory, root: Root, order: Order) -> Obeyed:
    """A standing word that was written, whether or not the guest has passed a safe point since."""
    memory.invalidate()
    functions = read_functions(memory, root, read_counters(memory, root), [])
    slot = _slot(memory, root, functions, order.function)
    begun = ""
    if order.action == VETO and is_beyond_veto(slot):
        begun = (
            f"the swap to O{slot.phase_level} that is under way ({slot.phase.replace('_', ' ')}) is not stopped by it"
        )
    return _obeyed(order, functions[slot.index], slot.control, done=slot.control == order.action, message=begun)


def is_beyond_veto(slot: MailSlot) -> bool:
    """Has the guest looked at the word already, and will publish? The host's code is refused until it is copied."""
    asked = ("requested", "compiled") if slot.state == "idle" else ()
    return slot.phase in (*asked, "copied", "about_to_publish")


def open_at_host(memory: Memory, root: Root, order: Order) -> bool:
    """Has the guest passed a force on to the host, which has not answered yet?"""
    memory.invalidate()
    functions = read_functions(memory, root, read_counters(memory, root), [])
    slot = _slot(memory, root, functions, order.function)
    return _is_open_at_host(order, slot)


def left_under_way(memory: Memory, root: Root, order: Order, why: str) -> Obeyed | None:
    """The answer about an order that the guest has begun and not ended, `why`; None when it has not begun."""
    memory.invalidate()
    functions = read_functions(memory, root, read_counters(memory, root), [])
    slot = _slot(memory, root, functions, order.function)
    if slot.phase in ("none", order.slot.phase):
        return None
    message = f"{why} while the swap was {slot.phase.replace('_', ' ')}; the guest ends it when it goes on"
    return _obeyed(order, functions[slot.index], slot.control, done=False, message=message)


def withdraw(memory: Memory, order: Order) -> None:
    """Puts back the word that was there before, unless the guest has changed it meanwhile."""
    memory.invalidate()
    now = int.from_bytes(memory.read(order.word, 4, "control word"), "little")
    if order.action not in STANDING and word("bf_control", now) == order.action:
        _set(memory, order, order.slot.control)


def _reached(order: Order, now: Function) -> bool:
    if order.action == ROLLBACK:
        return now.version == order.argument
    return now.level == order.argument and now.version != order.function.version


def _asks_host(order: Order, slot: MailSlot) -> bool:
    return order.action == FORCE and slot.request != order.slot.request and slot.requested_by == "forced"


def _is_open_at_host(order: Order, slot: MailSlot) -> bool:
    return _asks_host(order, slot) and not (slot.settled and slot.done_request == slot.request)


def _afterwards(order: Order) -> str:
    name = order.function.name
    if order.action == ROLLBACK:
        return f"its swaps are vetoed now, so that it stays; `swap allow {name}` ends that"
    lifted = "the veto is lifted: " if order.slot.control == VETO else ""
    return f"{lifted}a threshold that is still to come swaps it again; `swap veto {name}` holds it there"


def _why(reason: str) -> str:
    return _WHY.get(reason, reason.replace("_", " "))


def _find(functions: Sequence[Function], name: str) -> Function:
    found = next((function for function in functions if function.name == name), None)
    if found is not None:
        return found
    known = ", ".join(function.name for function in functions) or "none yet: wait until they are registered"
    raise UsageError(f"the guest has no function {name!r}; its functions are {known}")


def _rolled_back(function: Function, versions: Sequence[Version], what: str | None) -> tuple[int, str]:
    """The version, and why it cannot be rolled back to."""
    own = [version for version in versions if version.function == function.index]
    kept = sorted((one for one in own if one.state == "retired"), key=lambda one: one.tsc_retired)
    there = ", ".join(f"#{one.number} (O{one.level})" for one in kept) or "none"
    if what is None:
        return (kept[-1].number, "") if kept else (0, "none of its versions is retired, so there is nothing before it")
    number = int(what.removeprefix("#"))
    found = next((one for one in versions if one.number == number), None)
    if found is None:
        return number, f"there is no version #{number}; it can be rolled back to: {there}"
    if found.function != function.index:
        return number, f"version #{number} is {found.title}; it can be rolled back to: {there}"
    if found.state == "published":
        return number, f"version #{number} is what it runs"
    if found.state != "retired":
        return number, f"version #{number} is {found.state}, its code is gone; it can be rolled back to: {there}"
    return number, ""


def _slot(memory: Memory, root: Root, functions: list[Function], function: Function) -> MailSlot:
    slots = read_mailbox(memory, root, functions).slots
    if function.index >= len(slots) or slots[function.index].function != function.name:
        raise BareflowError(f"{function.name} is gone: the guest was restarted; ask again")
    return slots[function.index]


def _set(memory: Memory, order: Order, control: str) -> None:
    value = layouts.const(f"BF_CONTROL_{control.upper()}")
    memory.write(order.word, struct.pack("<I", value), "control word")


def _obeyed(order: Order, now: Function, control: str, *, done: bool, reason: str = "", message: str = "") -> Obeyed:
    return Obeyed(
        function=order.function.name,
        action=order.action,
        wanted=order.wanted,
        done=done,
        reason=reason,
        message=message,
        level_before=order.function.level,
        version_before=order.function.version,
        level=now.level,
        version=now.version,
        control=control,
    )
