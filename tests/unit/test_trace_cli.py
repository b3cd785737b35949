"""`bareflow trace`, `events` and `swaps` on recorded traces: answers, exit codes, one sentence per error."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machines import SECONDS
from trace_maker import SWAP, batch, make

from bareflow_gdb.cli import main as cli
from bareflow_gdb.files import locked

SAMPLE = str(Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30")

Captured = pytest.CaptureFixture[str]


def told(capsys: Captured, *words: str, code: int = 0) -> Any:
    assert cli.main([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def complaint(capsys: Captured, *words: str) -> str:
    """The one sentence of a command that could not look."""
    assert cli.main([*words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_show_counts_what_is_there(capsys: Captured) -> None:
    found = told(capsys, "trace", "show", SAMPLE)
    assert found["complete"] and found["lost"] == 0
    assert found["swaps"] == 3 * len(found["functions"]) >= 12
    assert found["code_saved"] == found["versions"] == 4 * len(found["functions"])
    assert sum(count for _, count in found["types"]) == found["events"]


def test_show_says_by_its_exit_code_that_events_were_lost(tmp_path: Path, capsys: Captured) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP), batch(SWAP, 9)], complete=False, open_journal=True)
    assert told(capsys, "trace", "show", str(directory), code=1)["lost"] == 2
    assert cli.main(["trace", "show", str(directory)]) == 1
    assert "its recorder was killed" in capsys.readouterr().out


def test_show_says_that_files_of_a_trace_are_not_there_any_more(tmp_path: Path, capsys: Captured) -> None:
    trace = make(tmp_path / "trace", [batch(SWAP)])
    assert cli.main(["trace", "show", str(trace)]) == 0
    assert "none of its files" not in capsys.readouterr().out
    next(trace.glob("events-*")).unlink()
    assert cli.main(["trace", "show", str(trace)]) == 1
    told = capsys.readouterr().out
    assert "ended: idle; 7 of its events are in none of its files: copy it again\n" in told
    assert "0 (7 lost)" in told


def test_show_says_that_a_recording_still_runs_and_nobody_else_writes_into_it(tmp_path: Path, capsys: Captured) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], complete=False, open_journal=True)
    with locked(directory, ""):
        assert cli.main(["trace", "show", str(directory)]) == 0
        assert "still recording" in capsys.readouterr().out
        for verb in (["trace", "recover"], ["report"], ["trace", "ctf", "--out", str(directory / "ctf")]):
            assert "still being recorded" in complaint(capsys, *verb, str(directory))
        assert cli.main(["report", str(directory), "--out", str(tmp_path / "report.html")]) in (0, 1)
    assert sorted(path.name for path in directory.iterdir()) == ["journal-000.raw", "manifest.json", "serial.log"]


def test_show_says_how_much_code_was_left_out(tmp_path: Path, capsys: Captured) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)])
    (directory / "code").mkdir()
    (directory / "code" / "index.json").write_text('{"versions": [], "left_out": 1999}')
    assert told(capsys, "trace", "show", str(directory))["code_left_out"] == 1999
    assert cli.main(["trace", "show", str(directory)]) == 0
    assert "1,999 left out" in capsys.readouterr().out


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_made_of_a_trace_is_private_unless_it_is_shared(tmp_path: Path, shared: bool) -> None:
    words = ["--shared"] if shared else []
    before = os.umask(0o022)
    try:
        report = ["report", SAMPLE, "--out", str(tmp_path / "page"), "--text", str(tmp_path / "text")]
        assert cli.main([*report, *words]) == 0
        assert cli.main(["trace", "ctf", SAMPLE, "--out", str(tmp_path / "ctf"), *words]) == 0
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o644 if shared else 0o600}
    assert stat.S_IMODE((tmp_path / "ctf").stat().st_mode) == (0o755 if shared else 0o700)


def test_output_for_which_there_is_no_room_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "bareflow_gdb.cli.main", "trace", "show", SAMPLE]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert (
        done.stderr.startswith("bareflow trace: cannot write the output: No space left")
        and done.stderr.count("\n") == 1
    )


def test_recover_completes_a_trace_once(tmp_path: Path, capsys: Captured) -> None:
    directory = str(make(tmp_path / "trace", [batch(SWAP)], complete=False, open_journal=True))
    assert cli.main(["trace", "recover", directory]) == 0
    assert "7 events recovered" in capsys.readouterr().out
    assert told(capsys, "trace", "show", directory)["events"] == 7


def test_events_are_chosen_by_type_and_number(capsys: Captured) -> None:
    listed = told(capsys, "events", SAMPLE, "--type", "publish", "--last", "3")
    assert [event["type"] for event in listed] == ["publish"] * 3
    assert [event["fields"]["level"] for event in listed] == [1, 2, 3]
    both = told(capsys, "events", SAMPLE, "--type", "publish", "--type", "threshold", "--last", "1000")
    assert {event["type"] for event in both} == {"publish", "threshold"} and len(both) % 24 == 0
    assert told(capsys, "events", SAMPLE, "--last", "0", code=1) == []


def test_events_are_shown_with_names_instead_of_numbers(capsys: Captured) -> None:
    assert cli.main(["events", SAMPLE, "--type", "publish", "--last", "1"]) == 0
    line = capsys.readouterr().out
    for word in ("publish", "function=", "reason=threshold", "level=3", "new=0x00"):
        assert word in line


def test_sql_answers_in_rows(capsys: Captured) -> None:
    query = "select name, count(*) as n from events join types on number = type where name = 'publish' group by 1"
    swaps = told(capsys, "trace", "show", SAMPLE)["swaps"]
    assert told(capsys, "events", SAMPLE, "--sql", query) == [{"name": "publish", "n": swaps}]
    assert cli.main(["events", SAMPLE, "--sql", query]) == 0
    assert capsys.readouterr().out.split() == ["name", "n", "publish", str(swaps)]
    assert told(capsys, "events", SAMPLE, "--sql", "select 1 where false", code=1) == []


def test_swaps_of_a_trace_without_any_are_a_no(tmp_path: Path, capsys: Captured) -> None:
    directory = make(tmp_path / "trace", [batch([(1, "mark", 0, ())])])
    assert told(capsys, "swaps", str(directory), code=1)["swaps"] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("events", SAMPLE, "--type", "nonsense"), "no event type nonsense"),
        (("events", SAMPLE, "--last", "-1"), "not negative"),
        (("events", SAMPLE, "--sql", "selekt"), "cannot be answered"),
        (("events", SAMPLE, "--sql", "copy events to '/tmp/out.csv'"), "cannot be answered"),
        (("trace", "show", "/nowhere"), "not a trace"),
        (("trace", "show", __file__), "not a trace"),
        (("trace", "recover", SAMPLE), "nothing to recover"),
        (("report", "/nowhere"), "does not exist"),
        (("trace", "record", "no-such-machine", "--out", "/tmp/never-made"), "no machine named"),
        (("trace", "record", "--seconds", "-1", "--out", "/tmp/never-made"), "not negative"),
        (("trace", "record", "a", "--machine", "b", "--out", "/tmp/never-made"), "two machines"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(words: tuple[str, ...], sentence: str, capsys: Captured) -> None:
    assert sentence in complaint(capsys, *words)
    assert not Path("/tmp/never-made").exists()


def test_a_kernel_that_measures_no_versions_is_not_said_to_have_gained_anything(
    tmp_path: Path, capsys: Captured
) -> None:
    why = "the kernel does not measure what the calls of each version take (debug interface 1.0, 1.3 does)"
    found = told(capsys, "swaps", SAMPLE)
    assert found["no_worth"] == why and all(swap["worth"] is None for swap in found["swaps"])
    assert cli.main(["swaps", SAMPLE]) == 0
    assert f"What the swaps were worth is not known: {why}." in capsys.readouterr().out
    assert cli.main(["report", SAMPLE, "--out", str(tmp_path / "page")]) == 0
    assert why in (tmp_path / "page").read_text()
    capsys.readouterr()
    alone = told(capsys, "swaps", str(make(tmp_path / "trace", [batch(SWAP)])))["no_worth"]
    assert alone.startswith("the tables of the last moment cannot be read: ")


def test_verify_reads_all_of_a_sound_trace(capsys: Captured) -> None:
    found = told(capsys, "trace", "verify", SAMPLE)
    assert found["good"] and {part["name"] for part in found["parts"]} == {*PARTS}
    assert cli.main(["trace", "verify", SAMPLE]) == 0
    said = capsys.readouterr().out
    assert "1,984 events" in said and "48 of 48 versions" in said


PARTS = ("recording", "events", "code", "memory", "symbols", "serial log")


@pytest.mark.parametrize(
    ("file", "part", "sentence"),
    [
        ("manifest.json", "recording", "not complete"),
        ("events-000.parquet", "events", "damaged"),
        ("code/*.bin", "code", "another digest"),
        ("memory/*.z", "memory", "damaged"),
        ("memory/screen.bin", "memory", "2000 bytes instead of 4000"),
        ("symbols.json", "symbols", "damaged"),
        ("serial.log", "serial log", "is a directory"),
        ("account", "events", "ring 0 has 1,"),
    ],
)
def test_verify_names_the_part_that_is_damaged(
    tmp_path: Path, capsys: Captured, file: str, part: str, sentence: str
) -> None:
    directory = tmp_path / "trace"
    shutil.copytree(SAMPLE, directory)
    if file == "serial.log":
        (directory / file).unlink()
        (directory / file).mkdir()
    elif file in ("manifest.json", "account"):
        text = (directory / "manifest.json").read_text()
        change = ('"complete": true', '"complete": false') if file != "account" else ('"events": 1', '"events": 2')
        (directory / "manifest.json").write_text(text.replace(*change, 1))
    else:
        victim = sorted(directory.glob(file))[0]
        content = victim.read_bytes()
        victim.write_bytes(content[: len(content) // 2])
    found = told(capsys, "trace", "verify", str(directory), code=1)
    wrong = {one["name"]: one["problems"] for one in found["parts"] if one["problems"]}
    assert list(wrong) == [part] and sentence in wrong[part][0]
    assert cli.main(["trace", "verify", str(directory)]) == 1
    assert "WRONG" in capsys.readouterr().out
