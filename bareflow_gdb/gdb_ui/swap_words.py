"""What is a store to a code pointer, in words: function, both codes, tiers, call, reason?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.guest.base.values import Address

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.code.jit import JitFunction


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
    old_level: int | None = None
    call: int | None = None
    """Calls of the function by its profiler; None = it is not known there."""


def described(session: Session, number: int, slot: int, old: int, new: int) -> Swapped:
    """A store to a code pointer, with what the kernel's records say of both pieces of code."""
    functions = session.guest.kernel().jit().functions
    function = next((item for item in functions if item.slot == slot), None)
    name = function.name if function is not None else f"slot 0x{slot:08x}"
    swapped = Swapped(number, name, Address(slot), Address(old), Address(new))
    versions = [v for item in functions for v in item.versions if v.entry == new]
    if versions:
        newest = max(versions, key=lambda version: version.number)
        return replace(swapped, level=newest.level, version=newest.number, reason=newest.reason)
    if function is None or not any(function.level_codes):
        return swapped
    level, old_level = (_level_of(function, code) for code in (new, old))
    threshold = session.guest.kernel().jit().thresholds[level - 1] if level else 0
    reason = "threshold" if threshold and function.calls >= threshold else ""
    return replace(swapped, level=level, reason=reason, old_level=old_level, call=function.calls)


def _level_of(function: JitFunction, code: int) -> int | None:
    return next((level for level, item in enumerate(function.level_codes) if item == code and code), None)


def words(swap: Swapped) -> str:
    """A swap in words: function, both codes, tiers, call, reason."""
    level = "?" if swap.level is None else swap.level
    text = f"{swap.function}: 0x{swap.old:08x} -> 0x{swap.new:08x} at O{level}, {swap.reason or 'reason unknown'}"
    tiers = "" if swap.old_level is None or swap.level is None else f"O{swap.old_level} to O{swap.level}"
    call = "" if swap.call is None else f"{swap.call} calls counted"
    more = ", ".join(filter(None, (tiers, call)))
    return f"{text} ({more})" if more else text


_before: dict[int, int] = {}
"""What each watched code pointer held when it was last looked at."""


def expect(session: Session, slot: int) -> None:
    """A code pointer is watched from now on."""
    from bareflow_gdb.guest.base.reading import read_word

    _before[slot] = read_word(session.memory, slot, "published code pointer")


class SwappedFunction(gdb.Function):
    """Tells what has just been stored to a watched code pointer; for the suite's own use."""

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

        session = self._current()
        session.refresh()
        new = read_word(session.memory, slot, "published code pointer")
        old = _before.get(slot, new)
        # Now and then gdb stops a second time at a store, before it was made.
        if old != new:
            _before[slot] = new
            say(f"swap of {words(described(session, 0, slot, old, new))}")
