"""What a recording's filter keeps: against a plain reading of the whole stream, however it comes in pieces."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.tracing import filters
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch
from bareflow_gdb.tracing.filters import Filter, Filtered
from bareflow_gdb.tracing.manifest import Source

EXCEPTION = BY_NAME["exception"].number
CALL, MODULE_CALL, TOKEN = (BY_NAME[name].number for name in ("call", "module_call", "token"))
REGISTER = BY_NAME["jit_register"].number

Row = tuple[int, int, int, int]
"""Time, ring, type, id."""


class Given:
    """A source that gives prepared batches; what it lost goes before a batch."""

    clock = ""
    restarted = False
    nearly_empty = True

    def __init__(self, drains: Sequence[Sequence[Batch]]) -> None:
        self.drains = list(drains)
        self.all = [batch for drain in self.drains for batch in drain]

    def __enter__(self) -> Given:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def require_free(self) -> None:
        pass

    def drain(self) -> Sequence[Batch]:
        return self.drains.pop(0) if self.drains else []

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        for drain in self.drains:
            for batch in drain:
                take(batch)
        self.drains.clear()

    def counts(self) -> list[Source]:
        found = []
        for ring in (0, 1):
            mine = [batch for batch in self.all if batch.ring == ring]
            events, lost = sum(len(batch.events) for batch in mine), sum(batch.lost for batch in mine)
            found.append(Source(f"ring {ring}", ring, 64, 0, events, lost, 0, 0, 0))
        return found


class Names:
    """A guest whose calls go up by one with every question, and whose tables are read while they are moved."""

    def __init__(self, functions: Sequence[str] = (), modules: Sequence[str] = (), calls: int | None = None) -> None:
        self.names = {"function": list(functions), "module": list(modules)}
        self.count = calls
        self.reads = 0
        self.torn = False

    def _read(self, kind: str) -> Sequence[str]:
        self.reads += 1
        if self.torn:
            raise BadData("the tables are being changed")
        return list(self.names[kind])

    def functions(self) -> Sequence[str]:
        return self._read("function")

    def modules(self) -> Sequence[str]:
        return self._read("module")

    def calls(self, function: str) -> int | None:
        assert function == "primes"
        if self.count is not None:
            self.count += 1
        return self.count


def batch(ring: int, first: int, rows: Sequence[Row], lost: int = 0) -> Batch:
    events: Any = np.zeros(len(rows), EVENT_DTYPE)
    for event, (tsc, _, kind, identifier) in zip(events, rows, strict=True):
        event["tsc"], event["type"], event["id"] = tsc, kind, identifier
    events["seq"] = np.arange(first, first + len(rows), dtype=np.uint32)
    return Batch(ring, events, first, lost)


def kept(source: Filtered, drains: int) -> list[Batch]:
    """All that is kept, the last drain being that of the recording's end."""
    found: list[Batch] = []
    with source:
        for _ in range(drains):
            found += source.drain()
        source.drain_all(found.append)
    return found


def rows_of(batches: Sequence[Batch], ring: int) -> list[tuple[int, int, int]]:
    rows = [row for one in batches if one.ring == ring for row in one.events.tolist()]
    names = EVENT_DTYPE.names or ()
    at = [names.index(name) for name in ("tsc", "type", "id")]
    return [(row[at[0]], row[at[1]], row[at[2]]) for row in rows]


def check_numbers(batches: Sequence[Batch], source: Filtered) -> None:
    """A gap in a ring's numbers is what was lost, and the account adds up."""
    for count in source.counts():
        expected = events = 0
        for one in (each for each in batches if each.ring == count.ring):
            expected += one.lost
            assert one.first == expected and one.events["seq"].tolist() == list(
                range(expected, expected + len(one.events))
            )
            expected += len(one.events)
            events += len(one.events)
        assert (count.first, count.events, count.lost) == (0, events, expected - events)
        before = next(given for given in source.source.counts() if given.ring == count.ring)
        assert count.left_out == before.events - events and count.lost == before.lost


@settings(max_examples=200, deadline=None)
@given(data=st.data(), around=st.integers(1, 6))
def test_around_each_exception_so_many_events_of_each_ring_are_kept_however_they_come(
    data: st.DataObject, around: int
) -> None:
    kinds = data.draw(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([CALL] * 8 + [EXCEPTION])), max_size=80))
    stream = [(10 * at, ring, kind, at) for at, (ring, kind) in enumerate(kinds)]
    rings = [[row for row in stream if row[1] == ring] for ring in (0, 1)]
    drains: list[list[Batch]] = []
    done = [0, 0]
    # The interrupt ring is read first: the other one may be some events ahead of it, never behind.
    for cut in sorted(data.draw(st.lists(st.integers(0, 80), max_size=12))):
        drain = []
        for ring, until in ((1, cut), (0, cut + data.draw(st.integers(0, 5)))):
            end = max(done[ring], bisect.bisect_left(rings[ring], (10 * until, 0, 0, 0)))
            if end > done[ring]:
                drain.append(batch(ring, done[ring], rings[ring][done[ring] : end]))
                done[ring] = end
        drains.append(drain)
    drains.append(
        [batch(ring, done[ring], rings[ring][done[ring] :]) for ring in (0, 1) if done[ring] < len(rings[ring])]
    )
    source = Filtered(Given(drains), Filter(around=around), Names())
    found = kept(source, len(drains) - 1)
    times = [row[0] for row in stream if row[2] == EXCEPTION]
    for ring in (0, 1):
        wanted = set()
        for time in times:
            at = bisect.bisect_left(rings[ring], (time, 0, 0, 0))
            wanted |= set(range(max(0, at - around), at + around + 1))
        expected = [(row[0], row[2], row[3]) for at, row in enumerate(rings[ring]) if at in wanted]
        assert rows_of(found, ring) == expected
    check_numbers(found, source)


def test_no_more_is_held_back_than_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "HELD_BACK", 5)
    drains = [[batch(0, 100 * at, [(100 * at + one, 0, CALL, 0) for one in range(100)])] for at in range(50)]
    last = [(5000, 0, EXCEPTION, 0)]
    found = kept(Filtered(Given([*drains, [batch(0, 5000, last)]]), Filter(around=3), Names()), 51)
    assert [row[0] for row in rows_of(found, 0)] == [4997, 4998, 4999, 5000]


def test_an_exception_that_is_seen_after_newer_events_of_another_ring_still_has_those_before_it() -> None:
    main = [(10 * at, 0, CALL, 0) for at in range(40)]
    late = batch(1, 0, [(95, 1, EXCEPTION, 0)])
    found = kept(
        Filtered(Given([[batch(0, 0, main[:30])], [late, batch(0, 30, main[30:])]]), Filter(around=2), Names()), 2
    )
    assert [row[0] for row in rows_of(found, 0)] == [80, 90, 100, 110, 120]


def test_what_was_lost_is_told_where_it_was_and_nothing_else_is_a_gap() -> None:
    first = batch(0, 0, [(1, 0, CALL, 0), (2, 0, CALL, 1)])
    second = batch(0, 9, [(3, 0, CALL, 1), (4, 0, CALL, 0)], lost=7)
    source = Filtered(Given([[first], [second]]), Filter(functions=("primes",)), Names(["primes", "sum"]))
    found = kept(source, 2)
    assert [(one.first, len(one.events), one.lost) for one in found] == [(0, 1, 0), (8, 1, 7)]
    check_numbers(found, source)


def test_a_function_is_its_versions_its_module_and_what_belongs_to_none() -> None:
    rows = [
        *[(1, 0, CALL, 0), (2, 0, CALL, 1), (3, 0, CALL, 99)],
        *[(4, 0, MODULE_CALL, 0), (5, 0, MODULE_CALL, 1), (6, 0, TOKEN, 1), (7, 0, EXCEPTION, 14)],
    ]
    names = Names(["sum", "primes"], ["primes", "sum"])
    found = kept(Filtered(Given([[batch(0, 0, rows)]]), Filter(functions=("primes",)), names), 1)
    assert [row[0] for row in rows_of(found, 0)] == [2, 4, 6, 7]


def test_a_function_that_is_registered_later_is_kept_from_then_on_and_tables_that_move_are_read_again() -> None:
    names = Names(["sum"])
    source = Filtered(
        Given([[batch(0, at, [(at, 0, kind, 1)])] for at, kind in enumerate((CALL, REGISTER, CALL, CALL))]),
        Filter(functions=("primes", "nobody")),
        names,
    )
    found: list[Batch] = []
    with source:
        found += source.drain()
        names.torn = True
        names.names["function"].append("primes")
        found += source.drain()
        names.torn = False
        found += source.drain()
        reads = names.reads
        found += source.drain()
        assert names.reads == reads, "the names are read when a number is new, not with every batch"
    assert [row[0] for row in rows_of(found, 0)] == [2, 3]
    assert source.unmet() == ("no function or module nobody was seen; there are: primes, sum",)


def test_from_a_call_on_everything_is_kept_and_before_it_exceptions_only() -> None:
    drains = [[batch(0, 2 * at, [(2 * at, 0, CALL, 0), (2 * at + 1, 0, EXCEPTION, 0)])] for at in range(6)]
    wanted = Filter(after_function="primes", after_calls=4)
    source = Filtered(Given(drains), wanted, Names(calls=0))
    found = kept(source, 6)
    assert [row[0] for row in rows_of(found, 0)] == [1, 3, 5, 6, 7, 8, 9, 10, 11] and source.unmet() == ()
    check_numbers(found, source)
    few = Filtered(Given(drains[:2]), wanted, Names(calls=0))
    kept(few, 2)
    assert few.unmet() == ("primes was called 2 times, not 4: nothing was kept but exceptions",)
    none = Filtered(Given(drains[:2]), wanted, Names())
    kept(none, 2)
    assert none.unmet() == ("no function primes was counted: nothing was kept but exceptions",)


def test_the_parts_narrow_each_other_and_are_told_in_words() -> None:
    wanted = Filter(("primes",), "sum", 1000, 20)
    assert wanted.words() == ("of primes", "from call 1,000 of sum on", "20 before and after each exception")
    assert Filter().words() == ()
    with pytest.raises(UsageError, match="at most 100,000 events can be kept around an exception"):
        Filter(around=100_001)
