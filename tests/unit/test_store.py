"""Reading traces: whole ones, those of a killed recorder, and directories that nobody should trust."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trace_maker
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_maker import SWAP, batch, make, records

from bareflow_gdb.analysis.latencies import summarise, swap_times
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.errors import BareflowError, CannotWrite, UsageError
from bareflow_gdb.files import locked, replacing
from bareflow_gdb.memory import snapshot
from bareflow_gdb.memory.protocol import CheckedMemory
from bareflow_gdb.memory.snapshot import SnapshotMemory
from bareflow_gdb.tracing import codes
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.journal import read_journal
from bareflow_gdb.tracing.limits import CodeLimits
from bareflow_gdb.tracing.losses import Loss
from bareflow_gdb.tracing.sql import answer
from bareflow_gdb.tracing.store import Trace, recover


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    events = Trace.open(make(tmp_path / "trace", [batch(SWAP)])).events()
    written = records(SWAP)
    for name in ("tsc", "seq", "type", "cpu", "id", "arg"):
        assert np.array_equal(events[name], written[name]), name


def test_sequence_numbers_beyond_32_bits_come_back_whole(tmp_path: Path) -> None:
    first = 2**32 - 3
    trace = Trace.open(make(tmp_path / "trace", [batch(SWAP, first)], open_journal=True, complete=False))
    assert trace.events()["seq"].tolist() == list(range(first, first + len(SWAP)))
    assert trace.losses() == []


def test_segments_and_rings_are_one_sequence_in_time(tmp_path: Path) -> None:
    late = [(9000, "mark", 1, (1,)), (9500, "mark", 2, (2,))]
    interrupt = [(2050, "exception", 6, (0x10000,)), (9200, "exception", 6, (0x10000,))]
    trace = Trace.open(make(tmp_path / "trace", [batch(SWAP)], [batch(late, 7), batch(interrupt, ring=1)]))
    times = trace.events()["tsc"].tolist()
    assert times == sorted(times) and len(times) == 11
    assert trace.events("exception")["ring"].tolist() == [1, 1]


def test_losses_are_told_by_place_and_number(tmp_path: Path) -> None:
    trace = Trace.open(
        make(tmp_path / "trace", [batch(SWAP), batch(SWAP, 20, lost=13)], complete=False, open_journal=True)
    )
    assert trace.losses() == [Loss(0, 7, 13)]
    assert trace.lost == 13


def test_a_journal_cut_anywhere_gives_the_records_before_the_cut(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP), batch(SWAP, 7)], open_journal=True, complete=False)
    journal = directory / "journal-000.raw"
    whole = journal.read_bytes()
    for size in range(len(whole)):
        journal.write_bytes(whole[:size])
        got = [int(seq) for part in read_journal(journal) for seq in part.events["seq"]]
        in_first = min(max(size - 32, 0) // 32, 7)
        in_second = max(size - 32 - 7 * 32 - 32, 0) // 32
        assert got == list(range(in_first + in_second)), size


def test_a_segment_written_before_the_kill_is_not_read_twice(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    kept = (directory / "journal-000.raw").read_bytes()
    assert recover(directory) == len(SWAP)
    (directory / "journal-000.raw").write_bytes(kept)
    with replacing(directory / "events-001.parquet") as partial:
        name = partial.name
        partial.touch()
    (directory / "events-001.parquet").rename(directory / name)
    assert Trace.open(directory).count == len(SWAP)
    assert recover(directory) == 0
    assert not (directory / name).exists()
    assert Trace.open(directory).count == len(SWAP)


def test_a_complete_trace_has_nothing_to_recover(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="complete"):
        recover(make(tmp_path / "trace", [batch(SWAP)]))


def test_a_trace_that_is_still_written_is_not_recovered(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    before = files(directory)
    with locked(directory, ""):
        assert Trace.open(directory).recorded_now
        with pytest.raises(UsageError, match="still being recorded"):
            recover(directory)
    assert files(directory) == before
    assert not Trace.open(directory).recorded_now
    assert recover(directory) == len(SWAP)


def test_a_recording_that_ends_while_its_trace_is_read_was_not_killed(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    with locked(directory, ""):
        trace = Trace.open(directory)
    assert trace.recorded_now


@pytest.mark.parametrize("name", ["journal-xyz.raw", "journal-.raw", "journal-000.raw.old", "events-x.parquet"])
def test_a_file_that_no_recorder_names_so_is_left_alone(tmp_path: Path, name: str) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    (directory / name).write_bytes(b"mine")
    assert Trace.open(directory).count == len(SWAP)
    assert recover(directory) == len(SWAP)
    assert (directory / name).read_bytes() == b"mine"


def test_a_segment_that_cannot_be_written_leaves_its_journal(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CannotWrite, match=re.escape(f"{directory / 'events-000.parquet'}: File too large; ")):
            recover(directory)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in directory.glob("*0*")] == ["journal-000.raw"]
    assert Trace.open(directory).count == recover(directory) == len(SWAP)


def test_parts_are_the_events_whole_or_by_column(tmp_path: Path) -> None:
    parts = [[batch(SWAP)], [batch(SWAP, 7)], [batch(SWAP, 14)]]
    trace = Trace.open(make(tmp_path / "trace", *parts, open_journal=True, complete=False))
    assert [part.num_rows for part in trace.parts()] == [len(SWAP)] * 3
    assert [part.schema.names for part in trace.parts("seq")] == [["seq"]] * 3
    assert [seq for part in trace.parts("seq") for seq in part.column("seq").to_pylist()] == list(range(21))
    assert trace.count == len(trace.events()) == 21


def test_swaps_are_told_even_without_a_memory_snapshot(tmp_path: Path) -> None:
    found = trace_swaps(Trace.open(make(tmp_path / "trace", [batch(SWAP)])))
    (swap,) = found.swaps
    assert (swap.function, swap.to_level, swap.call, swap.reason) == ("fibonacci", 1, 100, "threshold")
    assert (swap.old_code, swap.new_code, swap.to_version) == (0x200010, 0x200100, 2)
    assert (swap.threshold_to_publish_us, swap.publish_to_first_us) == (0.4, 0.2)


def test_each_step_of_a_swap_has_its_time(tmp_path: Path) -> None:
    times = swap_times(Trace.open(make(tmp_path / "trace", [batch(SWAP)])))
    steps = {(step.start, step.end): step.median for step in summarise(times)}
    assert steps == {
        ("compile_begin", "compile_end"): 200,
        ("compile_end", "publish"): 100,
        ("emit", "publish"): 200,
        ("publish", "first_execution"): 200,
        ("threshold", "first_execution"): 600,
    }


class Bytes(CheckedMemory):
    """Memory of a few pages."""

    def __init__(self, data: bytes) -> None:
        super().__init__([(0x1000, 0x1000 + len(data))])
        self.data = data

    def _fetch(self, address: int, size: int) -> bytes:
        return self.data[address - 0x1000 :][:size]


def test_a_snapshot_gives_back_every_byte_of_its_ranges_and_nothing_else(tmp_path: Path) -> None:
    data = bytes(range(256)) * 64
    ranges = [(0x1000, 0x1800), (0x1800, 0x2000), (0x3000, 0x3100), (0x9000, 0x9004)]
    assert snapshot.save(Bytes(data), ranges, tmp_path) == 0x1100
    memory = SnapshotMemory(tmp_path)
    assert memory.read(0x17F0, 0x20, "across two ranges") == data[0x7F0:0x810]
    assert memory.read(0x3000, 0x100, "a range") == data[0x2000:0x2100]
    for address, size in ((0x0FFF, 2), (0x1FFF, 2), (0x3100, 1), (0x9000, 4)):
        with pytest.raises(BareflowError):
            memory.read(address, size, "outside")
    with pytest.raises(BareflowError):
        memory.write(0x1000, b"x", "a snapshot")


def test_a_second_snapshot_replaces_the_first(tmp_path: Path) -> None:
    snapshot.save(Bytes(b"a" * 4096), [(0x1000, 0x2000)], tmp_path)
    snapshot.save(Bytes(b"b" * 4096), [(0x1000, 0x2000)], tmp_path)
    assert SnapshotMemory(tmp_path).read(0x1000, 4, "text") == b"bbbb"
    assert len(list((tmp_path / "memory").iterdir())) == 2


def test_code_is_kept_only_when_its_bytes_have_the_announced_crc(tmp_path: Path) -> None:
    import zlib

    data = bytes(range(64))
    store = codes.CodeStore(tmp_path)
    event = {"code": 0x1000, "size": 64, "version": 1, "function": 0}
    store.emitted(Bytes(data), {**event, "crc": zlib.crc32(data)})
    store.emitted(Bytes(data), {**event, "crc": 1, "version": 2})
    store.emitted(Bytes(data), {**event, "crc": 1, "version": 3, "size": 0xFFFFFFFF})
    store.emitted(Bytes(data), {**event, "crc": 1, "version": 4, "code": 0xFFFFFFF0})
    store.save()
    saved = codes.load(tmp_path)
    assert codes.code_bytes(tmp_path, saved[1]) == data
    for version in (2, 3, 4):
        with pytest.raises(BareflowError, match="was not saved"):
            codes.code_bytes(tmp_path, saved[version])


def announced(version: int, size: int = 16) -> tuple[Bytes, dict[str, int]]:
    """An EMIT event with the right CRC, and the memory that it tells of: other bytes for each version."""
    import zlib

    data = version.to_bytes(4, "little") * (size // 4)
    place = {"code": 0x1000, "size": size, "version": version, "function": 0}
    return Bytes(data), {**place, "crc": zlib.crc32(data)}


@pytest.mark.parametrize("limits", [CodeLimits(versions=5), CodeLimits(total_bytes=5 * 16 + 15)])
def test_code_without_end_is_kept_up_to_the_limit_and_the_rest_is_counted(tmp_path: Path, limits: CodeLimits) -> None:
    store = codes.CodeStore(tmp_path, limits)
    for version in range(1, 201):
        store.emitted(*announced(version))
    store.save()
    assert len(list((tmp_path / "code").glob("*.bin"))) == 5
    saved = codes.load(tmp_path)
    assert [number for number, code in saved.items() if code.sha256] == [1, 2, 3, 4, 5]
    assert len(saved) <= limits.versions
    assert codes.left_out(tmp_path) == 195


def test_a_version_in_the_guests_table_is_left_out_once(tmp_path: Path) -> None:
    store = codes.CodeStore(tmp_path, CodeLimits(total_bytes=0))
    for _ in range(3):
        store.emitted(*announced(1))
    store.save()
    assert codes.left_out(tmp_path) == 1


def use(directory: Path) -> None:
    """Reads everything that a trace can be asked for."""
    trace = Trace.open(directory)
    for part in trace.parts():
        part.validate(full=True)
    trace.last(5)
    with answer(trace, "select count(distinct seq), sum(arg0) from events where tsc > 5") as reader:
        reader.read_all()
    trace_swaps(trace)
    trace.losses()
    trace.serial()
    _ = trace.symbols, trace.code_left_out
    for version in trace.codes:
        trace.code_bytes(version)
    memory = trace.memory()
    for start, end in memory.ranges:
        memory.read(start, end - start, "a range")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace with everything in it."""
    import zlib

    directory = make(tmp_path_factory.mktemp("whole") / "trace", [batch(SWAP)], [batch(SWAP, 7)], open_journal=True)
    snapshot.save(Bytes(bytes(4096)), [(0x1000, 0x2000)], directory)
    store = codes.CodeStore(directory)
    crc = zlib.crc32(bytes(16))
    store.emitted(Bytes(bytes(64)), {"code": 0x1000, "size": 16, "version": 1, "function": 0, "crc": crc})
    store.save()
    (directory / "symbols.json").write_text(json.dumps({"symbols": [{"name": "x", "address": 1, "size": 0}]}))
    use(directory)
    return directory


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_one_sentence_and_never_a_crash(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    copy = tmp_path_factory.mktemp("damaged") / "trace"
    shutil.copytree(whole, copy)
    victim = data.draw(st.sampled_from(files(copy)))
    content = bytearray(victim.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    victim.write_bytes(content)
    try:
        use(copy)
    except BareflowError as error:
        assert "\n" not in str(error)


HOSTILE: dict[str, Callable[[dict[str, object]], object]] = {
    "another kind": lambda record: record.update(kind="something"),
    "a newer schema": lambda record: record.update(schema=3),
    "a missing field": lambda record: record.pop("functions"),
    "a number for a list": lambda record: record.update(functions=7),
    "a boolean for a count": lambda record: record.update(tsc_hz=True),
    "a negative count": lambda record: record.update(tsc_hz=-1),
    "an enormous list": lambda record: record.update(functions=["x"] * 5000),
    "a source without numbers": lambda record: record.update(sources=[{"name": "ring 0"}]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_that_cannot_be_right_is_refused(tmp_path: Path, name: str) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)])
    record = json.loads((directory / "manifest.json").read_text())
    HOSTILE[name](record)
    (directory / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(BareflowError):
        Trace.open(directory)


def test_a_trace_of_the_version_before_is_read(tmp_path: Path) -> None:
    """It does not say what kind its sources are: there were rings only."""
    directory = make(tmp_path / "trace", [batch(SWAP)])
    record = json.loads((directory / "manifest.json").read_text())
    for source in record["sources"]:
        for name in ("kind", "clock", "confidence", "missed"):
            del source[name]
    (directory / "manifest.json").write_text(json.dumps({**record, "schema": 1}))
    old = Trace.open(directory).manifest
    assert [source.kind for source in old.sources] == ["ring"] * len(record["sources"]) != []
    assert (old.missed, old.seen_from_outside) == (0, False)


def test_a_snapshot_that_names_a_file_elsewhere_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "trace"
    shutil.copytree(whole, copy)
    index = copy / "memory" / "index.json"
    index.write_text(index.read_text().replace('"00001000', '"../00001000'))
    with pytest.raises(BareflowError, match="leaves the trace"):
        SnapshotMemory(copy)


def test_a_digest_that_names_a_file_elsewhere_is_refused(whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "trace"
    shutil.copytree(whole, copy)
    entry = SavedCode(1, 0, 0, 0, 1, 0, 0, "../../" + "0" * 58)
    (copy / "code" / "index.json").write_text(json.dumps({"versions": [vars(entry)]}))
    with pytest.raises(BareflowError, match="impossible digest"):
        _ = Trace.open(copy).codes


def test_no_directory_and_an_empty_one_are_not_traces(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="not a trace"):
            Trace.open(path)
    assert trace_maker.manifest().complete


def test_what_follows_an_impossible_record_in_a_journal_is_left_out(tmp_path: Path) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], open_journal=True, complete=False)
    journal = directory / "journal-000.raw"
    content = bytearray(journal.read_bytes())
    content[32 + 4 * 32 + 8] ^= 1
    journal.write_bytes(content)
    assert Trace.open(directory).events()["seq"].tolist() == [0, 1, 2, 3]
