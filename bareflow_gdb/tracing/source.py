"""What does a recorder need of a source of events, whatever it is: rings, watchpoints, tables that are polled?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.guest.pointers import Count, Look, Pointers
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch
from bareflow_gdb.tracing.manifest import HOST, Source

HOST_HZ = 1_000_000_000
"""Ticks of the host's clock per second: nanoseconds."""
COUNT_NS = 250_000_000
"""So often, at most, what the profiler has counted of a function is recorded."""


_REASONS = layouts.enum_values("bf_reason")


class EventSource(AbstractContextManager[Any], Protocol):
    """Attached while it is entered; leaving it gives the guest back as it was."""

    @property
    def clock(self) -> str:
        """`manifest.HOST` when it sees events from outside; "" = the guest's own, as its events say."""

    def require_free(self) -> None:
        """Raises UsageError when somebody else uses what only one can."""

    def drain(self) -> Sequence[Batch]:
        """What has come since, without anything empty."""

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        """Takes what there is until now; ends even when the guest goes on."""

    @property
    def restarted(self) -> bool:
        """The guest has begun anew: what comes now does not belong to this recording."""

    @property
    def nearly_empty(self) -> bool:
        """Whether the recorder may sleep a millisecond."""

    def counts(self) -> list[Source]:
        """The account, also of what was lost or may have been missed."""


class Seen:
    """What a source sees of the code pointers from outside, as events: numbered, timed by the host's clock.

    It gets a look at the pointers again and again, and tells what is new since the look before.
    """

    def __init__(self, ring: int, pointers: Pointers) -> None:
        """`ring` is the number by which the events name this source."""
        self.ring = ring
        self.pointers = pointers
        self.events = 0
        self.restarted = False
        self._last: Look | None = None
        self._swaps: dict[int, int] = {}
        """Swaps that were seen, by function."""
        self._before: dict[int, int] = {}
        """Swaps that the tables told at the beginning."""
        self._told: dict[int, int] | None = None
        self._counted: dict[int, tuple[int, Count]] = {}
        self._new: list[tuple[int, int, int, tuple[int, ...]]] = []

    def begin(self) -> None:
        """From now on: what the tables tell already was before."""
        if self.pointers.find():
            self._last = self.pointers.look()
            self._before = self.pointers.swaps() or {}

    def look(self, *, still: bool = False) -> Look | None:
        """Looks, and notes what is new; `still`: the guest stands still, right after a store."""
        now = self.pointers.look()
        if now is None or (not still and now == self._last):
            return now
        before = self._last or Look((), ())
        if not still and not self.pointers.is_there():
            return None
        if len(now.codes) < len(before.codes):
            self.restarted = True
            return None
        time_now = time.monotonic_ns()
        for index, code in enumerate(now.codes):
            old = before.codes[index] if index < len(before.codes) else 0
            if code and not old:
                self._registered(time_now, index, now)
            elif code != old:
                self._swapped(time_now, index, old, code, now.ids[index])
        self._last = now
        return now

    def _registered(self, at: int, index: int, now: Look) -> None:
        first = self.pointers.first_code(index) or now.codes[index]
        self._note(at, "jit_register", index, self.pointers.slot(index), first, now.ids[index])
        if first != now.codes[index]:
            self._swapped(at, index, first, now.codes[index], now.ids[index])

    def _swapped(self, at: int, index: int, old: int, new: int, profiler_id: int) -> None:
        known = self.pointers.known(index, new)
        self._count(at, index, profiler_id, always=True)
        reason = _REASONS.get(f"BF_REASON_{known.reason.upper()}", 0) & 0x1F
        packed = known.version << 8 | reason << 3 | known.level & 7
        self._note(at, "publish", index, self.pointers.slot(index), old, new, packed)
        self._swaps[index] = self._swaps.get(index, 0) + 1

    def count(self, every_ns: int = COUNT_NS) -> None:
        """Notes what the profiler has counted, where that changed and was not noted for so long."""
        now = time.monotonic_ns()
        for index, profiler_id in enumerate(self._last.ids if self._last is not None else ()):
            at, _ = self._counted.get(index, (0, None))
            if now - at >= every_ns:
                self._count(now, index, profiler_id)

    def _count(self, at: int, index: int, profiler_id: int, *, always: bool = False) -> None:
        """`always`: also when nothing was counted since; a swap has what was counted at its own time."""
        count = self.pointers.count(profiler_id)
        if count is None or (count == self._counted.get(index, (0, None))[1] and not always):
            return
        self._counted[index] = at, count
        words = (word for value in (count.calls, count.cycles) for word in (value & 0xFFFFFFFF, value >> 32))
        self._note(at, "counted", index, *words)

    def _note(self, at: int, kind: str, function: int, *arguments: int) -> None:
        self._new.append((at, BY_NAME[kind].number, function, arguments))

    def batch(self) -> list[Batch]:
        """What was noted since, at most one batch."""
        if not self._new:
            return []
        events = np.zeros(len(self._new), EVENT_DTYPE)
        for row, (at, kind, function, arguments) in zip(events, self._new, strict=True):
            row["tsc"], row["type"], row["id"] = at, kind, function
            row["arg"][: len(arguments)] = [value & 0xFFFFFFFF for value in arguments]
        events["seq"] = np.arange(self.events, self.events + len(events), dtype=np.uint64).astype(np.uint32)
        made = Batch(self.ring, events, self.events, 0)
        self.events += len(events)
        self._new.clear()
        return [made]

    def missed(self) -> int:
        """How many swaps the tables count that were not seen."""
        # A table that is gone was read before, at the last look at which it was there.
        self._told = self.pointers.swaps() or self._told
        if self._told is None:
            return 0
        seen = {-1: sum(self._swaps.values())} if -1 in self._told else self._swaps
        return sum(max(0, told - self._before.get(index, 0) - seen.get(index, 0)) for index, told in self._told.items())

    def account(self, name: str, confidence: str) -> Source:
        """As the manifest tells it."""
        return Source(
            name=name,
            ring=self.ring,
            capacity=0,
            first=0,
            events=self.events,
            lost=0,
            guest_dropped=0,
            guest_waits=0,
            reader_deaths=0,
            kind=name,
            clock=HOST,
            confidence=confidence,
            missed=self.missed(),
        )
