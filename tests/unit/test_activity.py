"""The picture of a report: its lanes, spans and marks are those of the events, and it is bounded."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_maker import SWAP, Row, batch, make

from bareflow_gdb.analysis import activity as module
from bareflow_gdb.analysis.activity import Activity, Lane
from bareflow_gdb.analysis.digest import tell
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.tracing.store import Trace

SAMPLE = Path(__file__).parents[2] / "traces" / "swaps-10-20-30"


def of(directory: Path) -> Activity:
    found = tell(of_trace(Trace.open(directory))).activity
    assert found is not None
    return found


def lane(found: Activity, name: str) -> Lane:
    return next(one for one in found.lanes if one.name == name)


def test_a_swap_is_a_mark_its_tier_a_span_and_its_steps_are_spans(tmp_path: Path) -> None:
    function = lane(of(make(tmp_path / "trace", [batch(SWAP)])), "fibonacci")
    assert [(mark.tsc, mark.label) for mark in function.marks] == [(2400, "O1 (threshold, call 100)")]
    ran, *steps = function.spans
    assert (ran.start, ran.end, ran.kind) == (2400, 2600, "l1")
    assert [(step.start, step.end) for step in steps] == [
        (2000, 2100),
        (2100, 2200),
        (2200, 2300),
        (2300, 2400),
        (2400, 2600),
    ]


def test_all_events_are_counted_in_equal_stretches(tmp_path: Path) -> None:
    events = lane(of(make(tmp_path / "trace", [batch(SWAP)])), "all events")
    assert sum(events.counts) == len(SWAP) and len(events.counts) == module.BINS
    assert (events.counts[0], events.counts[-1]) == (1, 1)


def test_a_time_before_the_first_event_is_counted_with_the_first(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)])
    (segment,) = directory.rglob("*.parquet")
    table = pq.read_table(segment)
    middle = len(table) // 2
    # One part written with its halves exchanged: most of its times stand before its first.
    pq.write_table(pa.concat_tables([table.slice(middle), table.slice(0, middle)]), segment)
    events = lane(of(directory), "all events")
    assert sum(events.counts) == len(SWAP)
    assert events.counts[0] > middle


def test_more_than_can_be_shown_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MARKS", 3)
    marks: list[Row] = [(3000 + n, "mark", n, (n, 0, 0, 0)) for n in range(5)]
    found = of(make(tmp_path / "trace", [batch([*SWAP, *marks])]))
    assert [mark.tsc for mark in lane(found, "mark").marks] == [3002, 3003, 3004]
    assert found.left_out == ("mark events before the last 3",)


def test_the_pools_of_the_last_moment_are_those_in_memory() -> None:
    trace = Trace.open(SAMPLE)
    told = tell(of_trace(trace))
    assert told.activity is not None and told.pools is not None
    for history in told.activity.pools:
        pool = next(one for one in told.pools.pools if one.kind == history.kind)
        there = {(stay.address, stay.size) for stay in history.blocks if stay.end is None}
        used = {(block.address, block.size) for block in pool.blocks if block.state == "used"}
        assert there == used, history.kind


def test_what_was_printed_is_told_when() -> None:
    lines = [mark.label for mark in lane(of(SAMPLE), "console").marks]
    assert any(line.startswith("[RECOMPILE] primes: O2 -> O3") for line in lines)
