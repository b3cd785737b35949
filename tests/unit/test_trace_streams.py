"""Long traces are read a block at a time: the same answers as from all of it, and nothing else can be reached."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from trace_maker import SWAP, batch, make

from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.tracing import losses, segments
from bareflow_gdb.tracing.events import TRACE_DTYPE, Events
from bareflow_gdb.tracing.losses import Gaps, Loss
from bareflow_gdb.tracing.sql import answer
from bareflow_gdb.tracing.store import Trace

LONG = 300_000

Captured = pytest.CaptureFixture[str]


def marks(count: int, first: int = 0, types: tuple[int, ...] = (28,)) -> Events:
    """Events one cycle apart."""
    events = np.zeros(count, TRACE_DTYPE)
    events["seq"] = events["tsc"] = np.arange(first, first + count)
    events["type"] = np.resize(np.array(types, np.uint8), count)
    return events


def put(directory: Path, number: int, events: Events, rows: int | None = None) -> None:
    path = segments.segment_path(directory, number)
    if rows is None:
        segments.write_segment(segments.to_table(events), path)
    else:
        pq.write_table(segments.to_table(events), path, row_group_size=rows)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return make(tmp_path / "trace", [batch(SWAP)])


@pytest.mark.parametrize("rows", [None, LONG])
def test_no_more_than_a_batch_is_read_at_a_time_whoever_wrote_the_segment(trace: Path, rows: int | None) -> None:
    put(trace, 1, marks(LONG, 5000), rows)
    opened = Trace.open(trace)
    assert max(part.num_rows for part in opened.parts()) <= segments.BATCH_ROWS < LONG
    assert opened.count == LONG + len(SWAP)
    assert [part.num_rows for part in opened.parts(types=["publish"]) if part.num_rows] == [1]


def test_the_last_events_are_the_same_as_of_all_events_sorted(trace: Path) -> None:
    chance = random.Random(20260101)
    for round_ in range(12):
        for number in range(1, 5):
            events = marks(chance.randrange(1, 40), types=(28, 15, 25))
            # Segments overlap in time, and share some times.
            events["tsc"] = np.sort(np.array(chance.choices(range(1000 * number, 1000 * number + 1500), k=len(events))))
            put(trace, number, events, chance.choice([None, 3]))
        opened = Trace.open(trace)
        for count in (0, 1, 2, 7, 50, 1000):
            for types in ((), ("publish",), ("disk", "mark"), ("token",)):
                wanted = opened.events(*types)
                wanted = wanted[max(0, len(wanted) - count) :]
                assert np.array_equal(opened.last(count, *types), wanted), (round_, count, types)


def test_events_are_counted_as_lost_once_in_whatever_pieces_they_are_read() -> None:
    numbers = [5, 6, 7, 9, 9, 2**32, 2**64 - 1]
    expected = [Loss(0, 8, 1), Loss(0, 10, 2**32 - 10), Loss(0, 2**32 + 1, 2**64 - 2 - 2**32)]
    for pieces in ([numbers], [numbers[3:], numbers[:3]], [[number] for number in reversed(numbers)]):
        events = [np.zeros(len(piece), TRACE_DTYPE) for piece in pieces]
        for made, piece in zip(events, pieces, strict=True):
            made["seq"] = np.array(piece, np.uint64)
        gaps = Gaps(segments.to_table(made) for made in events)
        assert list(gaps) == expected
        assert gaps.lost == sum(loss.count for loss in expected)


def test_losses_without_end_are_counted_and_the_first_are_told(trace: Path) -> None:
    events = marks(50_000)
    events["seq"] *= 2
    put(trace, 0, events)
    opened = Trace.open(trace)
    assert len(opened.losses()) == losses.MOST and opened._gaps.lost == 49_999


FORBIDDEN = [
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/proc/self/environ')",
    "select * from '/etc/passwd.csv'",
    "select * from glob('/etc/*')",
    "select * from read_parquet('https://127.0.0.1/x.parquet')",
    "select * from read_text('.')",
    "copy events to '/tmp/never-made.csv'",
    "copy events to 'SEGMENT' (format parquet, use_tmp_file false)",
    "copy (select 1) to 'SEGMENT' (format csv, use_tmp_file false)",
    "explain analyze copy (select 1) to 'SEGMENT' (format csv, use_tmp_file false)",
    "select 1; copy (select 1) to 'SEGMENT' (format csv, use_tmp_file false)",
    "attach '/tmp/never-made.db'",
    "export database '/tmp/never-made'",
    "install httpfs",
    "load httpfs",
    "create secret (type s3)",
    "set memory_limit = '100GB'",
    "set enable_external_access = true",
    "set allowed_paths = ['/etc/passwd']",
    "pragma temp_directory = '/tmp'",
    "drop view events",
    "select * from trace",
    "select list(range) from range(100000000)",
    ";",
    "select",
]


@pytest.mark.parametrize("query", FORBIDDEN)
def test_a_query_reaches_nothing_but_the_trace(trace: Path, query: str, capsys: Captured) -> None:
    segment = trace / "events-000.parquet"
    before = hashlib.sha256(segment.read_bytes()).digest()
    places = [str(segment), "/proc/self/fd/3/events-000.parquet", "/proc/self/fd/4/events-000.parquet"]
    for asked in dict.fromkeys(query.replace("SEGMENT", place) for place in places):
        assert cli.main(["events", str(trace), "--sql", asked]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and "cannot be answered" in said.err
    assert hashlib.sha256(segment.read_bytes()).digest() == before
    assert not list(Path("/tmp").glob("never-made*"))


def test_a_query_may_read_its_trace_twice_whatever_the_trace_is_called(tmp_path: Path) -> None:
    parts = [[batch(SWAP)], [batch(SWAP, 7)]]
    directory = make(tmp_path / "a[b]*?'\"{x}\udce4", *parts, open_journal=True, complete=False)
    query = "select count(*) as n from events a join events b using (seq)"
    with answer(Trace.open(directory), query) as reader:
        assert reader.read_all().to_pylist() == [{"n": 14}]


def test_a_trace_without_any_segment_has_no_rows(trace: Path) -> None:
    (trace / "events-000.parquet").unlink()
    with answer(Trace.open(trace), "select * from events") as reader:
        assert reader.read_all().num_rows == 0 and reader.schema.names == segments.SCHEMA.names


def test_a_damaged_segment_is_named_by_the_name_that_the_user_knows(trace: Path, capsys: Captured) -> None:
    segment = trace / "events-000.parquet"
    content = bytearray(segment.read_bytes())
    content[4:400] = bytes(396)
    segment.write_bytes(content)
    assert cli.main(["events", str(trace), "--sql", "select sum(tsc), sum(arg0) from events"]) == 2
    said = capsys.readouterr().err
    assert "/proc/self" not in said and said.count("\n") == 1


def test_json_of_many_rows_is_one_list(trace: Path, capsys: Captured) -> None:
    put(trace, 1, marks(20_000, 5000))
    for words in (["--sql", "select seq from events order by seq"], ["--last", "1000000"]):
        assert cli.main(["events", str(trace), "--json", *words]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert [row["seq"] for row in rows] == [*range(7), *range(5000, 25_000)]


def test_no_such_type_is_one_sentence_before_anything_is_read(trace: Path) -> None:
    for ask in (lambda opened: opened.events("nonsense"), lambda opened: opened.last(1, "nonsense")):
        with pytest.raises(UsageError, match="no event type nonsense"):
            ask(Trace.open(trace))
