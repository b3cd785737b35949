"""Files of traces and machines that anybody may have written: refused in a sentence, never waited for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trace_maker import SWAP, batch, make

from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData, BareflowError, Unreachable
from bareflow_gdb.guest.code.symbol_index import read_index
from bareflow_gdb.memory.snapshot import SnapshotMemory
from bareflow_gdb.qemu.directory import read_record
from bareflow_gdb.qemu.disk import image_path, opened
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.small_files import parse_json, read_small
from bareflow_gdb.tracing.segments import SCHEMA
from bareflow_gdb.tracing.store import Trace, recover

DEEP = "[" * 50_000


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return make(tmp_path / "t", [batch(SWAP)])


@pytest.mark.parametrize("text", [DEEP, '{"ranges":' + DEEP, "\xff", "null", '{"ranges": [{"address": 1e999}]}'])
def test_each_json_reader_refuses_what_no_writer_wrote(tmp_path: Path, trace: Path, text: str) -> None:
    for folder in ("memory", "code", "jit"):
        (trace / folder).mkdir(exist_ok=True)
        (trace / folder / "index.json").write_text(text, encoding="latin-1")
    (trace / "symbols.json").write_text(text, encoding="latin-1")
    (tmp_path / "machine.json").write_text(text, encoding="latin-1")
    opened = Trace.open(trace)
    readers = (
        lambda: SnapshotMemory(trace),
        lambda: opened.codes,
        lambda: opened.symbols,
        lambda: read_index(trace),
        lambda: Machine.load(tmp_path),
    )
    for read in readers:
        with pytest.raises(BadData):
            read()
    (trace / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(BadData):
        Trace.open(trace)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("ram", "\ud800"),
        ("ram", "a\0b"),
        ("pid", -1),
        ("pid", 0),
        ("pid", 1 << 40),
        ("created", float("nan")),
        ("created", float("inf")),
        ("name", "\x1b[31m"),
        ("name", "\ud800"),
        ("name", None),
    ],
)
def test_a_machine_record_that_no_launch_wrote(tmp_path: Path, word: str, value: object) -> None:
    words = ("pid", "started", "created", "image", "memory_mib", "icount", "gdb_socket", "qmp_socket", "serial", "ram")
    good = {**dict.fromkeys(words, 1), "name": "m"}
    (tmp_path / "machine.json").write_text(json.dumps(good))
    assert Machine.load(tmp_path) is not None
    (tmp_path / "machine.json").write_text(json.dumps({**good, word: value}))
    assert read_record(tmp_path) is not None
    with pytest.raises(BadData, match=r"machine\.json is damaged"):
        Machine.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["manifest.json", "serial.log", "symbols.json", "events-000.parquet", "journal-001.raw"]
)
def test_a_pipe_among_the_files_of_a_trace_is_not_waited_for(trace: Path, name: str) -> None:
    opened = Trace.open(trace)
    (trace / name).unlink(missing_ok=True)
    os.mkfifo(trace / name)
    with pytest.raises(BareflowError, match=name):
        Trace.open(trace)
        _ = opened.symbols
        opened.serial()
        opened.events()


def test_a_small_file_is_no_larger_than_said(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    assert read_small(tmp_path / "f", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_small(tmp_path / "f", 4)
    with pytest.raises(ValueError, match="too deep"):
        parse_json(DEEP)


@pytest.mark.parametrize("column", SCHEMA.names)
def test_a_segment_with_a_null_is_refused(trace: Path, column: str) -> None:
    path = trace / "events-000.parquet"
    table = pq.ParquetFile(path).read()
    at = SCHEMA.names.index(column)
    values = [None, *table.column(at).to_pylist()[1:]]
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, SCHEMA.types[at])), path)
    with pytest.raises(BadData, match="without all their values"):
        Trace.open(trace).events()


def test_segments_of_another_writer_are_joined(trace: Path) -> None:
    path = trace / "events-000.parquet"
    table = pq.ParquetFile(path).read()
    strict = pa.schema([field.with_nullable(False) for field in SCHEMA])
    pq.write_table(table.cast(strict), path)
    pq.write_table(table, trace / "events-001.parquet")
    assert Trace.open(trace).count == 2 * len(SWAP)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("select 1 as a, 2 as a", ["a", "a_1"]),
        ("select 1 as a, 2 as a, 3 as a_1, 4 as a", ["a", "a_1", "a_1_1", "a_2"]),
        ("select * from functions, modules", ["number", "name", "number_1", "name_1"]),
    ],
)
def test_columns_of_one_name_are_all_there(
    trace: Path, capsys: pytest.CaptureFixture[str], query: str, names: list[str]
) -> None:
    assert cli.main(["events", str(trace), "--sql", query, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert list(row) == names
    assert cli.main(["events", str(trace), "--sql", query]) == 0
    head, values = capsys.readouterr().out.splitlines()
    assert head.split() == names
    assert values.split() == [str(value) for value in row.values()]


@pytest.mark.parametrize("name", ["journal-xyz.raw", "journal-.raw", "journal-1\u0663.raw", "journal--1.raw"])
def test_a_journal_that_no_recorder_names_so_stays(tmp_path: Path, name: str) -> None:
    trace = make(tmp_path / "t", [batch(SWAP)], open_journal=True, complete=False)
    (trace / name).write_bytes(b"mine")
    assert recover(trace) == len(SWAP)
    assert (trace / name).read_bytes() == b"mine"
    assert Trace.open(trace).count == len(SWAP)


def test_a_disk_whose_name_is_too_long_for_a_file() -> None:
    with pytest.raises(Unreachable, match="cannot be read"), opened(Path("x" * 5000)):
        pass


class _Told:
    def __init__(self, text: str) -> None:
        self.text = text

    def monitor(self, _command: str) -> str:
        return self.text


@pytest.mark.parametrize("told", ["\n", "", "\n    Cache: x", "a\0b (raw)"])
def test_a_monitor_that_names_no_file(told: str) -> None:
    with pytest.raises(Unreachable):
        image_path(_Told(f"ide0-hd1: {told}"))  # type: ignore[arg-type] # all that is asked of it
