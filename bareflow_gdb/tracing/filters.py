"""Which of the events that a source gives does a recording keep?

A filter lies over a source and is a source itself. What it keeps it numbers anew, so that a gap in the numbers of a
trace still means that something was lost and nothing else; what it leaves out it counts. An exception is always kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME, EVENT_TYPES
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.pointers import Pointers
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch, Events
from bareflow_gdb.tracing.manifest import Source
from bareflow_gdb.tracing.source import EventSource

MOST_AROUND = 100_000
"""Events before and after an exception."""
HELD_BACK = 16_384
"""Events of a ring that may be taken before an exception that is older is seen in another one: a batch."""
_MOST_PENDING = 10_000
_TYPES = 256
_IDS = 1 << 16
_EXCEPTION = BY_NAME["exception"].number
# After these a number may stand for another name.
_NAMING = [BY_NAME[name].number for name in ("jit_register", "module_load", "module_unload", "module_override")]
_MOST = {"function": layouts.const("BF_MAX_FUNCTIONS"), "module": layouts.const("BF_MAX_MODULES")}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """What is kept; each part that is given narrows what the others leave."""

    functions: tuple[str, ...] = ()
    """What these functions, or modules, do, and what belongs to none; () = all."""
    after_function: str = ""
    after_calls: int = 0
    """From this call of `after_function` on."""
    around: int = 0
    """So many events before and after each exception, of each ring; 0 = all."""

    def __post_init__(self) -> None:
        if not 0 <= self.around <= MOST_AROUND:
            raise UsageError(f"at most {MOST_AROUND:,} events can be kept around an exception, not {self.around:,}")

    def words(self) -> tuple[str, ...]:
        """Each part, as a trace tells it; () = it keeps everything."""
        of = f"of {', '.join(self.functions)}"
        after = f"from call {self.after_calls:,} of {self.after_function} on"
        around = f"{self.around:,} before and after each exception"
        parts = (self.functions, of), (self.after_function, after), (self.around, around)
        return tuple(words for given, words in parts if given)


EVERYTHING = Filter()


class Names(Protocol):
    """What a filter asks of the guest while it runs. Raises BareflowError where that cannot be read just now."""

    def functions(self) -> Sequence[str]:
        """By their index."""

    def modules(self) -> Sequence[str]:
        """By their index."""

    def calls(self, function: str) -> int | None:
        """What the profiler has counted; None = there is no such function yet."""


class GuestNames:
    """The names and counts of a guest that can be read without a stop."""

    def __init__(self, guest: Guest, pointers: Pointers) -> None:
        self._guest = guest
        self._pointers = pointers
        self._index: int | None = None

    def functions(self) -> Sequence[str]:
        return [function.name for function in self._guest.kernel().jit().functions]

    def modules(self) -> Sequence[str]:
        return [module.name for module in self._guest.kernel().modules().modules]

    def calls(self, function: str) -> int | None:
        # Asked after every batch: once the function is known this is two reads, where the tables are several.
        look = self._pointers.look() if self._pointers.address or self._pointers.find() else None
        if look is None:
            return None
        if self._index is None or self._index >= len(look.ids):
            names = list(self.functions())
            self._index = names.index(function) if function in names else None
        if self._index is None or self._index >= len(look.ids):
            return None
        count = self._pointers.count(look.ids[self._index])
        return None if count is None else count.calls


class Filtered:
    """A source seen through a filter. A context manager like every source."""

    def __init__(self, source: EventSource, wanted: Filter, names: Names) -> None:
        self.source = source
        self._after = _After(wanted, names) if wanted.after_function else None
        self._functions = _OfFunctions(wanted.functions, names) if wanted.functions else None
        self._around = wanted.around
        self._rings: dict[int, _Ring] = {}

    @property
    def clock(self) -> str:
        return self.source.clock

    def __enter__(self) -> Filtered:
        self.source.__enter__()
        self._rings = {source.ring: _Ring(source.ring, self._around) for source in self.source.counts()}
        return self

    def __exit__(self, *_: object) -> None:
        self.source.__exit__(None, None, None)

    def require_free(self) -> None:
        self.source.require_free()

    def drain(self) -> Sequence[Batch]:
        """What has come since and is kept, without anything empty."""
        batches = self.source.drain()
        # A ring that gave nothing has nothing more that is older than what was pending before.
        waited = self._waited(set(self._rings) - {batch.ring for batch in batches})
        return [*waited, *self._kept(batches)]

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        """Takes what is kept of what there is until now, also what waited for more."""

        def kept(batches: Iterable[Batch]) -> None:
            for batch in batches:
                take(batch)

        self.source.drain_all(lambda batch: kept(self._kept([batch])))
        kept(self._waited(set(self._rings)))

    def _waited(self, rings: Iterable[int]) -> list[Batch]:
        """What is wanted of the rings by exceptions that nothing more comes before."""
        kept = [self._rings[ring].take(_NONE, 0, ended=True) for ring in sorted(rings)]
        return [batch for batch in kept if len(batch.events)]

    def _kept(self, batches: Sequence[Batch]) -> list[Batch]:
        # Asked after the batch was taken: of what comes after the call nothing is left out, of what came before it a
        # batch may be kept.
        began = self._after is None or self._after.reached()
        chosen = [self._chosen(batch.events, began) for batch in batches]
        for batch in batches:
            self._rings.setdefault(batch.ring, _Ring(batch.ring, self._around))
        if self._around:
            times = [events["tsc"][events["type"] == _EXCEPTION] for events in chosen]
            for ring in self._rings.values():
                ring.pending = np.concatenate([ring.pending, *times])
        given = zip(batches, chosen, strict=True)
        kept = [self._rings[batch.ring].take(events, batch.lost) for batch, events in given]
        return [batch for batch in kept if len(batch.events) or batch.lost]

    def _chosen(self, events: Events, began: bool) -> Events:
        if began and self._functions is None:
            return events
        keep = self._functions.mask(events) if began and self._functions else np.zeros(len(events), np.bool_)
        chosen: Events = events[keep | (events["type"] == _EXCEPTION)]
        return chosen

    @property
    def restarted(self) -> bool:
        """The guest has begun anew."""
        return self.source.restarted

    @property
    def nearly_empty(self) -> bool:
        """Whether the recorder may sleep a millisecond."""
        return self.source.nearly_empty

    def counts(self) -> list[Source]:
        """The source's account, `events` and `first` of what is kept."""
        return [self._count(source) for source in self.source.counts()]

    def _count(self, source: Source) -> Source:
        ring = self._rings.get(source.ring)
        kept = ring.kept if ring is not None else 0
        return dataclasses.replace(source, first=0, events=kept, left_out=source.events - kept)

    def unmet(self) -> tuple[str, ...]:
        """What was asked for and did not come, in sentences."""
        # Where the call did not come, nothing was looked at for its name.
        sentences = self._after.unmet() if self._after is not None else ()
        return sentences or (self._functions.unmet() if self._functions is not None else ())


_NONE: Events = np.empty(0, EVENT_DTYPE)


@dataclass
class _Ring:
    """What is kept of one ring: numbered without a gap but for what was lost, and a tail that may still be wanted."""

    number: int
    around: int
    kept: int = 0
    pending: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """Times of exceptions that this ring has not come to yet."""
    _next: int = 0
    _due: int = 0
    """So many of the events to come are wanted."""
    _tail: Events = field(default_factory=lambda: _NONE)
    _taken: Mask = field(default_factory=lambda: np.empty(0, np.bool_))
    """Which of the tail are kept already."""

    def take(self, events: Events, lost: int, *, ended: bool = False) -> Batch:
        """What is now kept. `ended`: nothing is on its way that is older than what is pending."""
        chosen = self._near_exceptions(events, ended) if self.around else events
        self._next += lost
        numbered = chosen.copy()
        numbered["seq"] = np.arange(self._next, self._next + len(chosen), dtype=np.uint64).astype(np.uint32)
        batch = Batch(self.number, numbered, self._next, lost)
        self._next += len(chosen)
        self.kept += len(chosen)
        return batch

    def _near_exceptions(self, events: Events, ended: bool) -> Events:
        if not len(events) and not len(self.pending):
            return events
        held = len(self._tail)
        both = np.concatenate((self._tail, events))
        taken = np.concatenate((self._taken, np.zeros(len(events), np.bool_)))
        keep = np.zeros(len(both), np.bool_)
        keep[held : held + self._due] = True
        self._due = max(0, self._due - len(events))
        at = np.searchsorted(both["tsc"], self.pending)
        # A guest whose clock stands still would have it wait for ever.
        here = (at < len(both)) | ended | (len(self.pending) > _MOST_PENDING)
        self.pending, at = self.pending[~here], at[here]
        if len(at):
            # How many windows begin, less those that end, before each event.
            open_ = np.zeros(len(both) + 1, np.int64)
            np.add.at(open_, np.maximum(at - self.around, 0), 1)
            np.add.at(open_, np.minimum(at + self.around + 1, len(both)), -1)
            keep |= np.cumsum(open_)[:-1] > 0
            self._due = max(self._due, int(at.max()) + self.around + 1 - len(both))
        new = keep & ~taken
        held = self.around + HELD_BACK
        self._tail, self._taken = both[-held:], (taken | keep)[-held:]
        chosen: Events = both[new]
        return chosen


class _After:
    """Has a function been called so often?"""

    def __init__(self, wanted: Filter, names: Names) -> None:
        self._function, self._calls = wanted.after_function, wanted.after_calls
        self._names = names
        self._reached = False
        self._seen: int | None = None

    def reached(self) -> bool:
        if not self._reached:
            try:
                self._seen = self._names.calls(self._function)
            except BareflowError:
                # A kernel that is still booting, or is gone: the next batch asks again.
                return False
            self._reached = self._seen is not None and self._seen >= self._calls
        return self._reached

    def unmet(self) -> tuple[str, ...]:
        nothing = "nothing was kept but exceptions"
        if self._reached:
            return ()
        if self._seen is None:
            return (f"no function {self._function} was counted: {nothing}",)
        return (f"{self._function} was called {self._seen:,} times, not {self._calls:,}: {nothing}",)


class _OfFunctions:
    """Does an event belong to one of these functions or modules, or to none at all?"""

    def __init__(self, wanted: Sequence[str], names: Names) -> None:
        self._wanted = wanted
        self._read = {"function": names.functions, "module": names.modules}
        self._known: dict[str, Sequence[str]] = dict.fromkeys(self._read, ())
        self._ever: set[str] = set()
        numbers = np.arange(_TYPES)
        of = {kind: [one.number for one in EVENT_TYPES if one.id == kind] for kind in self._read}
        self._is = {kind: np.isin(numbers, types) for kind, types in of.items()}
        self._ids: dict[str, Mask] = {kind: np.zeros(_IDS, np.bool_) for kind in self._read}

    def mask(self, events: Events) -> Mask:
        """Which of the events do."""
        types, ids = events["type"], events["id"]
        renamed = bool(np.isin(types, _NAMING).any())
        keep = np.ones(len(events), np.bool_)
        for kind, of in self._is.items():
            mine = of[types]
            if renamed or self._is_new(kind, ids[mine]):
                self._name(kind)
            keep &= ~mine | self._ids[kind][ids]
        return keep

    def _is_new(self, kind: str, ids: npt.NDArray[Any]) -> bool:
        """Is there a number that the names do not reach to? Not one that no kernel gives."""
        possible = ids[ids < _MOST[kind]]
        return bool(len(possible)) and int(possible.max()) >= len(self._known[kind])

    def _name(self, kind: str) -> None:
        try:
            names = self._read[kind]()
        except BareflowError:
            # Tables that are changed at this moment, or are gone: those that were known count.
            return
        self._known[kind] = names
        self._ever.update(names)
        self._ids[kind] = np.zeros(_IDS, np.bool_)
        self._ids[kind][[number for number, name in enumerate(names[:_IDS]) if name in self._wanted]] = True

    def unmet(self) -> tuple[str, ...]:
        missing = [name for name in self._wanted if name not in self._ever]
        if not missing:
            return ()
        there = ", ".join(sorted(self._ever)) or "none"
        return (f"no function or module {', '.join(missing)} was seen; there are: {there}",)
