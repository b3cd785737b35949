"""The CTF export against babeltrace2, a reader that shares no code with us."""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path

import pytest
from trace_maker import SWAP, batch, make

from bareflow_gdb.abi.events import EVENT_TYPES
from bareflow_gdb.analysis.exports.ctf import export, metadata
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

SAMPLE = Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30"
LINE = re.compile(r"\[(\d+)\] (\w+): (.*)")
FIELD = re.compile(r"(\w+) = (0x[0-9A-F]+|-?\d+)")

Row = tuple[int, str, dict[str, int]]


def babeltrace(directory: Path) -> list[Row]:
    """Every event as babeltrace2 prints it: clock cycles, name, fields."""
    words = ["babeltrace2", "--clock-cycles", "--no-delta", str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = []
    for line in done.stdout.splitlines():
        match = LINE.fullmatch(line)
        assert match is not None, line
        fields = {name: int(value, 0) for name, value in FIELD.findall(match[3])}
        rows.append((int(match[1]), match[2], fields))
    return rows


def ours(trace: Trace) -> list[Row]:
    """The same from our own decoder, arguments by position, unsigned."""
    rows = []
    kinds = {kind.name: kind for kind in EVENT_TYPES}
    for event in decode(trace.events()):
        kind = kinds[event.type]
        names = [*kind.arguments, *(f"unused{index}" for index in range(len(kind.arguments), 4))]
        fields = {"cpu": event.cpu, kind.id or "number": event.id, **dict(zip(names, event.args, strict=True))}
        rows.append((event.tsc, event.type, fields))
    return rows


def unsigned(rows: list[Row]) -> list[Row]:
    return [(tsc, name, {key: value & 0xFFFFFFFF for key, value in row.items()}) for tsc, name, row in rows]


def test_babeltrace_reads_the_same_events_from_a_real_trace(tmp_path: Path) -> None:
    trace = Trace.open(SAMPLE)
    assert export(trace, tmp_path / "ctf") == trace.count > 300
    assert unsigned(babeltrace(tmp_path / "ctf")) == unsigned(ours(trace))


def test_every_event_type_and_two_rings_are_read(tmp_path: Path) -> None:
    rows = [(1000 + n, kind.name, n, (n, 0xFFFFFFFF, 7, n << 24)) for n, kind in enumerate(EVENT_TYPES)]
    interrupts = [(1003, "irq", 0, (5,)), (1500, "exception", 6, (0x10000,))]
    trace = Trace.open(make(tmp_path / "trace", [batch(rows), batch(interrupts, ring=1)]))
    export(trace, tmp_path / "ctf")
    read = babeltrace(tmp_path / "ctf")
    assert len(read) == len(rows) + 2
    # Events of the same time from two rings have no order.
    assert sorted(map(repr, unsigned(read))) == sorted(map(repr, unsigned(ours(trace))))


def test_the_bytes_of_the_ring_are_the_stream(tmp_path: Path) -> None:
    made = batch(SWAP)
    trace = Trace.open(make(tmp_path / "trace", [made]))
    export(trace, tmp_path / "ctf")
    assert (tmp_path / "ctf" / "ring0").read_bytes() == made.events.tobytes()


def test_the_guest_cannot_write_into_the_metadata(tmp_path: Path) -> None:
    evil = 'x"; }; trace { \\" \n'
    trace = Trace.open(make(tmp_path / "trace", [batch(SWAP)], machine=evil, build_id=evil, clock=evil))
    assert all(line.count('"') in (0, 2) for line in metadata(trace.manifest).splitlines())
    export(trace, tmp_path / "ctf")
    assert len(babeltrace(tmp_path / "ctf")) == len(SWAP)


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert cli.main(["trace", "ctf", str(SAMPLE), "--out", str(tmp_path / "above" / "ctf")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"cannot write {tmp_path / 'above' / 'ctf' / 'ring0'}: File too large; " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_segments_are_one_stream(tmp_path: Path) -> None:
    parts = [[batch(SWAP)], [batch([(tsc + 5000, *rest) for tsc, *rest in SWAP], 7)]]
    trace = Trace.open(make(tmp_path / "trace", *parts))
    assert export(trace, tmp_path / "ctf") == 14
    assert unsigned(babeltrace(tmp_path / "ctf")) == unsigned(ours(trace))


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(UsageError):
        export(Trace.open(SAMPLE), tmp_path)
    assert cli.main(["trace", "ctf", str(SAMPLE), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
