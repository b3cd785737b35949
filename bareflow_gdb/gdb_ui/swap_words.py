"""What is a store to a code pointer, in words: function, both codes, tiers, call, reason?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.render.view import spoken

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.code.jit import JitFunction


@dataclass(frozen=True)
class Swapped:
    """One swap, as the guest is about to make it or, on kernels that inline the store, has made it."""

    number: int
    """Counted from 1 since the script began; 0 outside of one."""
    function: str
    slot: Address
    old: Address
    new: Address
    published: bool
    """The store is made; False = it is the next instruction."""
    level: int | None = None
    """Of the new code; None when it is in no record."""
    version: int | None = None
    reason: str = ""
    old_level: int | None = None
    call: int | None = None
    """The call at which a threshold asked for it, else the calls so far; None = it is not known there."""


def described(session: Session, number: int, slot: int, old: int, new: int, *, published: bool) -> Swapped:
    """A store to a code pointer, with what the kernel's records say of both pieces of code."""
    jit = session.guest.kernel().jit()
    function = next((item for item in jit.functions if item.slot == slot), None)
    name = function.name if function is not None else f"slot 0x{slot:08x}"
    swapped = Swapped(number, name, Address(slot), Address(old), Address(new), published)
    if function is None:
        return swapped
    if function.versions:
        return _by_versions(swapped, function)
    level, old_level = (_level_of(function, code) for code in (new, old))
    threshold = jit.thresholds[level - 1] if level else 0
    reason = "threshold" if threshold and function.calls >= threshold else ""
    return replace(swapped, level=level, reason=reason, old_level=old_level, call=function.calls)


def _by_versions(swapped: Swapped, function: JitFunction) -> Swapped:
    now, before = (
        max((one for one in function.versions if one.entry == entry), key=lambda one: one.number, default=None)
        for entry in (swapped.new, swapped.old)
    )
    swapped = replace(swapped, old_level=None if before is None else before.level, call=function.calls)
    if now is None:
        return swapped
    # What ran before is rolled back to, whatever it was made for.
    asked = 0 if now.tsc_first else now.asked_at_call
    reason = "rollback" if now.tsc_first else now.reason
    return replace(swapped, level=now.level, version=now.number, reason=reason, call=asked or function.calls)


def _level_of(function: JitFunction, code: int) -> int | None:
    return next((level for level, item in enumerate(function.level_codes) if item == code and code), None)


def words(swap: Swapped) -> str:
    """`primes: O1 → O2, call 1,000 (threshold), new code 0x… published in place of 0x…`."""
    old, new = ("?" if level is None else level for level in (swap.old_level, swap.level))
    reason = spoken(swap.reason) or "reason unknown"
    when = reason if swap.call is None else f"call {swap.call:,} ({reason})"
    done = "published" if swap.published else "about to be published"
    return f"{swap.function}: O{old} → O{new}, {when}, new code 0x{swap.new:08x} {done} in place of 0x{swap.old:08x}"


_before: dict[int, int] = {}
"""What each watched code pointer held when it was last looked at."""


def expect(session: Session, slot: int) -> None:
    """A code pointer is watched from now on."""
    from bareflow_gdb.guest.base.reading import read_word

    _before[slot] = read_word(session.memory, slot, "published code pointer")


class SwappedFunction(gdb.Function):
    """Tells what has just been stored to a watched code pointer, or with 0 what the publishing store will store.

    For the suite's own use."""

    def __init__(self, current: Callable[[], Session]) -> None:
        super().__init__("_bf_swapped")
        self._current = current

    def invoke(self, slot: gdb.Value) -> bool:
        try:
            self._tell(int(slot))
        except BareflowError as error:
            raise gdb.GdbError(f"what was swapped cannot be told: {error}") from error
        return False

    def _tell(self, slot: int) -> None:
        from bareflow_gdb.guest.base.reading import read_word

        published = bool(slot)
        session = self._current()
        session.refresh()
        if slot:
            new = read_word(session.memory, slot, "published code pointer")
            old = _before.get(slot, new)
            _before[slot] = new
        else:
            slot, new = running.read_register("edx"), running.read_register("eax")
            old = read_word(session.memory, slot, "published code pointer")
            published = False
        # Now and then gdb stops a second time at a store, before it was made.
        if old != new or not published:
            say(words(described(session, 0, slot, old, new, published=published)))
        if session.followers.needed():
            session.update_symbols()
