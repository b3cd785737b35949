"""Traces in the formats of other tools, each read as its description says, by code that shares nothing with ours."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import stat
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from trace_maker import SWAP, batch, make

from bareflow_gdb.analysis.exports import folded, formats, jsonl, perf, speedscope
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

SAMPLE = Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30"
EVIL = "a;b\n\x1b[31m</script>\udc80"
Captured = pytest.CaptureFixture[str]


def modes(path: Path) -> set[int]:
    return {stat.S_IMODE(one.stat().st_mode) for one in [path, *path.rglob("*")] if one.is_file()}


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format_is_private_unless_shared_and_leaves_nothing_when_it_fails(
    name: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    words = ["trace", "convert", str(SAMPLE), "--to", name, "--out"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert cli.main([*words, str(out)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in capsys.readouterr().err
    broken = tmp_path / "broken"
    shutil.copytree(SAMPLE, broken)
    for victim in [*broken.glob("events-*"), *broken.glob("code/*.*")]:
        victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(BadData):
        formats.FORMATS[name].export(Trace.open(broken), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]
    assert cli.main([*words, str(out), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out).values())[1] > 40
    assert modes(out) == {0o600}
    assert cli.main([*words, str(tmp_path / "shared"), "--shared"]) == 0
    assert modes(tmp_path / "shared") == {0o666 & ~os.umask(os.umask(0o022))}


def test_speedscope_opens_and_closes_frames_in_the_order_of_time(tmp_path: Path) -> None:
    count = speedscope.export(Trace.open(SAMPLE), tmp_path / "out")
    found = json.loads((tmp_path / "out").read_text())
    assert found["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    (profile,) = found["profiles"]
    frames = [one["name"] for one in found["shared"]["frames"]]
    assert (profile["type"], profile["unit"]) == ("evented", "nanoseconds") and len(frames) == len(set(frames))
    stack: list[int] = []
    at, seen = profile["startValue"], Counter[str]()
    for event in profile["events"]:
        assert event["at"] >= at
        at = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
            seen[";".join(frames[one] for one in stack)] += 1
        else:
            assert event["type"] == "C" and stack.pop() == event["frame"]
    assert not stack and at <= profile["endValue"] and sum(seen.values()) == count
    assert {"stage1", "pools;module primes", "running;compile primes O3"} <= set(seen)


def read_folded(path: Path) -> dict[str, int]:
    lines = [re.fullmatch(r"(\S.*\S) (\d+)", line) for line in path.read_text().splitlines()]
    return {one[1]: int(one[2]) for one in lines if one}


def test_folded_stacks_are_the_time_of_each_stage_and_of_what_is_in_it(tmp_path: Path) -> None:
    trace = Trace.open(SAMPLE)
    assert folded.export(trace, tmp_path / "out") == len((tmp_path / "out").read_text().splitlines())
    found = read_folded(tmp_path / "out")
    boots = list(decode(trace.events("boot")))
    assert sum(found.values()) == boots[-1].tsc - boots[0].tsc
    (call,) = (one for one in decode(trace.events("module_call")) if one.id == trace.manifest.modules.index("primes"))
    assert found["pools;module primes"] == call.fields()["cycles"]


def test_calls_within_calls_are_stacked_and_the_deepest_are_cut(tmp_path: Path) -> None:
    rows: list[Any] = [(1000, "boot", 13, ())]
    rows += [(2000, "module_call", 0, (0, 100, 0)), (2500, "module_call", 1, (0, 900, 0)), (3000, "boot", 14, ())]
    trace = make(tmp_path / "trace", [batch(rows)], modules=("inner", EVIL))
    folded.export(Trace.open(trace), tmp_path / "out")
    evil = "a:b??[31m</script>?"
    assert read_folded(tmp_path / "out") == {
        "running": 1100,
        f"running;module {evil}": 800,
        f"running;module {evil};module inner": 100,
    }
    nested = [(10_000 + n, "module_call", 0, (0, 2 * n + 1, 0)) for n in range(5000)]
    deep = Trace.open(make(tmp_path / "deep", [batch(nested)]))
    folded.export(deep, tmp_path / "out")
    assert sum(read_folded(tmp_path / "out").values()) <= 15_000
    assert speedscope.export(deep, tmp_path / "out") == 5000


def test_json_lines_say_what_the_events_say_by_name(tmp_path: Path, capsys: Captured) -> None:
    trace = Trace.open(SAMPLE)
    assert jsonl.export(trace, tmp_path / "out") == trace.count
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert cli.main(["events", str(SAMPLE), "--last", "100000", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for line, event in zip(lines, told, strict=True):
        assert {name: line[name] for name in ("tsc", "ring", "seq", "cpu", "type")}.items() <= event.items()
        assert set(event["fields"]) <= set(line)
    # The boot loader's first stage is older than the ring: its event has the time of its record.
    assert [line["ns"] for line in lines if line.get("stage") == "stage1"] == [0]
    (published,) = (line for line in lines if line["type"] == "publish" and line["version"] == 24)
    assert (published["function"], published["reason"]) == (trace.function_name(trace.codes[24].function), "threshold")


def test_a_perf_map_names_the_newest_code_at_each_address(tmp_path: Path) -> None:
    trace = Trace.open(SAMPLE)
    assert perf.export_map(trace, tmp_path / "out") == 48
    for line in (tmp_path / "out").read_text().splitlines():
        start, size, name = line.split(" ", 2)
        code = trace.codes[int(name.rpartition("#")[2])]
        assert (int(start, 16), int(size, 16)) == (code.address, code.size)
        assert name == f"{trace.manifest.functions[code.function]}@O{code.level} #{code.version}"
    again = Trace.open(make(tmp_path / "trace", [batch(SWAP)], functions=(EVIL,)))
    places = {1: (100, 50), 2: (200, 50), 3: (149, 2), 4: (0, 0), 5: (240, 20)}
    again.codes = {n: SavedCode(n, 0, 1, at, size, 0, at, "") for n, (at, size) in places.items()}
    perf.export_map(again, tmp_path / "out")
    assert (tmp_path / "out").read_bytes().splitlines() == [
        b"95 2 a;b??[31m</script>?@O1 #3",
        b"f0 14 a;b??[31m</script>?@O1 #5",
    ]


def test_a_jitdump_has_each_version_with_its_code_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    trace = Trace.open(SAMPLE)
    assert perf.export_jitdump(trace, tmp_path / "out") == 48
    data = (tmp_path / "out").read_bytes()
    magic, version, size, machine, _, pid, _, flags = struct.unpack_from("<IIIIIIQQ", data)
    assert (magic.to_bytes(4, "big"), version, size, machine, flags) == (b"JiTD", 1, 40, 3, 0)
    at, last, seen = size, 0, []
    while at < len(data):
        kind, size, when = struct.unpack_from("<IIQ", data, at)
        assert when >= last
        last = when
        if kind == 0:
            of, thread, vma, address, code_size, index = struct.unpack_from("<IIQQQQ", data, at + 16)
            name, _, code = data[at + 56 : at + size].partition(b"\0")
            assert (of, thread, vma, len(code)) == (pid, pid, address, code_size)
            assert code == trace.code_bytes(index) and address == trace.codes[index].address
            assert name.decode().endswith(f"#{index}")
            seen.append(index)
        at += size
    assert (at, kind, size) == (len(data), 3, 16) and sorted(seen) == sorted(trace.codes)


def test_a_packed_trace_comes_out_whole_and_takes_nothing_else_with_it(tmp_path: Path, capsys: Captured) -> None:
    trace, out = tmp_path / "run 1", tmp_path / "run.tar.gz"
    shutil.copytree(SAMPLE, trace)
    (tmp_path / "secret").write_text("secret")
    (trace / "code" / "secret").symlink_to(tmp_path / "secret")
    (trace / "notes").write_text("mine")
    assert cli.main(["trace", "pack", str(trace), "--out", str(out)]) == 0
    assert "tar -xf" in capsys.readouterr().out and modes(out) == {0o600}
    (tmp_path / "there").mkdir()
    subprocess.run(["tar", "-xf", str(out), "-C", str(tmp_path / "there")], check=True)
    files = {path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*") if path.is_file()}
    assert files == {Path("run 1") / path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file()}
    assert cli.main(["trace", "verify", str(tmp_path / "there" / "run 1")]) == 0


def test_list_tells_the_traces_of_a_folder_the_damaged_too(tmp_path: Path, capsys: Captured) -> None:
    assert cli.main(["trace", "list", str(tmp_path)]) == 1
    make(tmp_path / "one", [batch(SWAP)])
    make(tmp_path / "two", [batch(SWAP)], complete=False, open_journal=True)
    make(tmp_path / "three", [batch(SWAP)])
    (tmp_path / "three" / "manifest.json").write_text("{")
    (tmp_path / "other").mkdir()
    capsys.readouterr()
    assert cli.main(["trace", "list", str(tmp_path), "--json"]) == 0
    found = {Path(one["trace"]).name: one for one in json.loads(capsys.readouterr().out)}
    assert set(found) == {"one", "two", "three"} and "damaged" in found["three"]["problem"]
    assert cli.main(["trace", "list", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "complete, idle" in told and "not complete" in told and "damaged" in told
    assert cli.main(["trace", "list", str(tmp_path / "nowhere")]) == 2
