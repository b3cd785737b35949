"""Traces by watchpoints and by polled tables: they tell what a ring would, or say what they missed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asking import record_of
from machines import QUICK, SECONDS, Boot, halted, wait_for
from program import bareflow

from bareflow_gdb.analysis.agree import compare
from bareflow_gdb.analysis.digest import tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.analysis.same_run import SameRun, same_run
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.ring import Asked
from bareflow_gdb.tracing.store import Trace, recover

QUESTIONS = ("status", "modules", "pools", "profile", "jit", "swaps")
SWAPS = [
    (function, level, level + 1, call)
    for function in ("fibonacci", "sum", "compute")
    for level, call in enumerate((100, 1000, 10000))
]


def told(trace: Trace) -> list[tuple[str, int | None, int, int | None]]:
    return [(one.function, one.from_level, one.to_level, one.call) for one in trace_swaps(trace).swaps]


def answers(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main([*words]) in (0, 1)
    return json.loads(capsys.readouterr().out)


def what(swap: dict[str, object]) -> list[object]:
    """A swap without what only events tell."""
    names = ("function", "from_level", "to_level", "reason", "call", "old_code", "new_code", "code_size", "same_code")
    return [swap[name] for name in names]


def recorded(machine: Machine, directory: Path, source: str = "") -> Trace:
    """A stock machine that was started paused, recorded from its first instruction to its halt."""
    with Recorder(machine, directory, source=source) as recorder:
        recorder.release_hold()
        assert recorder.run(seconds=SECONDS) == "halted"
    return Trace.open(directory)


def test_ring_watchpoints_and_tables_of_one_run_tell_the_same_swaps(booted: Boot, tmp_path: Path) -> None:
    machine = booted("registered", hold=1, thresholds=QUICK)
    ring, watch, tables = (
        Recorder(machine, tmp_path / source, source=source) for source in ("ring", "watch", "tables")
    )
    with ring, watch, tables:
        watch.release_hold()

        def idle() -> bool:
            for recorder in (ring, watch, tables):
                recorder.drain()
            return Guest.attach(machine.memory()).kernel().status().stage == "idle"

        wait_for(idle, "the end of the run")
    assert machine.status() == "running"
    traces = {source: Trace.open(tmp_path / source) for source in ("ring", "watch", "tables")}
    swaps = trace_swaps(traces["ring"]).swaps
    assert len(swaps) == 36
    by_watch = same_run(traces["ring"], traces["watch"])
    assert by_watch.agree and by_watch.agreed == 36, by_watch.contradictions
    assert traces["watch"].manifest.missed == 0
    assert [one[3] for one in told(traces["watch"])] == [one[3] for one in told(traces["ring"])]
    equal = [one.function for one in swaps if one.same_code]
    assert equal and [one.function for one in trace_swaps(traces["watch"]).swaps if one.same_code] == equal
    by_tables = same_run(traces["ring"], traces["tables"])
    assert by_tables.agree, by_tables.contradictions
    missed = traces["tables"].manifest.missed
    assert by_tables.sides[1].swaps + missed == 36 and by_tables.sides[1].untold - missed <= 0
    assert bareflow("trace", "agree", str(tmp_path / "ring"), str(tmp_path / "watch")).returncode == 0


def test_a_swap_that_one_source_does_not_have_is_a_contradiction(
    booted: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = booted("registered", hold=1, thresholds=QUICK)
    with Recorder(machine, tmp_path / "ring") as ring, Recorder(machine, tmp_path / "watch", source="watch") as watch:
        watch.release_hold()
        assert wait_for(lambda: ring.drain() + watch.drain() and watch.progress().swaps >= 9, "nine swaps")
    # The ring has what came after the watchpoints were taken out, and says nothing of having missed any.
    more = trace_swaps(Trace.open(tmp_path / "watch")).swaps[:-1]
    real = trace_swaps(Trace.open(tmp_path / "watch"))
    compared: list[SameRun] = []
    for kept in (real.swaps, more):
        shorter = type(real)(**{**vars(real), "swaps": kept})
        whole = {str(tmp_path / "watch"): shorter, str(tmp_path / "ring"): real}
        monkeypatch.setattr(
            "bareflow_gdb.analysis.same_run.trace_swaps", lambda trace, whole=whole: whole[str(trace.directory)]
        )
        compared.append(same_run(Trace.open(tmp_path / "ring"), Trace.open(tmp_path / "watch")))
    assert compared[0].agree and not compared[1].agree
    assert "says that it missed none" in compared[1].contradictions[0]


@pytest.mark.parametrize("kernel", ["stock", "field_pools", "field_frameless"])
def test_watchpoints_see_every_swap_of_a_stock_kernel_with_its_call(
    firmware: Path, launched: Boot, tmp_path: Path, kernel: str
) -> None:
    machine = launched(firmware / "stock" / f"{kernel}.img", paused=True)
    trace = recorded(machine, tmp_path / "trace")
    (source,) = trace.manifest.sources
    assert (source.kind, source.clock, source.missed, trace.lost) == ("watch", "host", 0, 0)
    swaps = trace_swaps(trace)
    assert swaps.complete and swaps.swaps
    agreement = compare(trace.serial(), swaps.swaps)
    assert agreement.agree and agreement.agreed == len(swaps.swaps), agreement.disagreements
    logged = Guest.attach(machine.memory())
    logged.serial_log = machine.serial
    assert {(one.function, one.to_level, one.new_code) for one in swaps.swaps} == {
        (one.function, one.to_level, one.new_code) for one in logged.kernel().swaps().swaps
    }
    if kernel == "stock":
        assert told(trace) == SWAPS
    memory = machine.memory()
    for swap in swaps.swaps:
        code = trace.code_bytes(swap.to_version)
        assert code == memory.read(swap.new_code, len(code), "code")


def test_the_trace_of_a_stock_kernel_answers_like_the_kernel_and_its_core(
    firmware: Path, launched: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True, name="told")
    trace = recorded(machine, tmp_path / "trace")
    core = tmp_path / "core"
    machine.dump_core(core)
    elf = ("--json", "--elf", str(firmware / "stock" / "stock.elf"))
    for question in QUESTIONS:
        live, saved = (answers(capsys, question, *elf, where) for where in ("told", str(trace.directory)))
        if question == "swaps":  # a trace has events too: the same swaps, with their times
            live, saved = ([what(one) for one in told["swaps"]] for told in (live, saved))
            assert len(live) == 9 and saved == live
        else:
            assert saved == live == answers(capsys, question, *elf, str(core)), question
    found = verdicts(tell(of_trace(trace)))
    assert [one.text for one in found if one.kind == "bad"] == []
    assert any("agree on 9 swaps" in one.text for one in found)
    assert cli.main(["trace", "info", str(trace.directory)]) == 0
    said = capsys.readouterr().out
    assert "clock      the host's, in ns" in said and "MHz" not in said and "stopped the guest" in said
    assert cli.main(["trace", "verify", str(trace.directory)]) == 0
    capsys.readouterr()
    events = answers(capsys, "events", "--json", str(trace.directory))
    assert {(one["source"], one["clock"]) for one in events} == {("watch", "host")}
    assert all("stopped the guest" in one["confidence"] for one in events)


def test_polling_says_how_far_apart_its_looks_were_and_what_it_missed(
    firmware: Path, launched: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True)
    trace = recorded(machine, tmp_path / "trace", "tables")
    (source,) = trace.manifest.sources
    seen = trace_swaps(trace)
    assert source.kind == "tables" and "ms at most" in source.confidence
    assert len(seen.swaps) + source.missed == seen.swap_count == 9
    assert all(one.call is None for one in seen.swaps), "a poll comes later than the swap"
    # It begins while the kernel is not there yet, and a search takes longer than the first swaps.
    assert source.missed > 0 and seen.forgotten == source.missed
    assert cli.main(["trace", "info", str(trace.directory)]) == 1
    assert f"{source.missed} more are counted by the guest's tables" in capsys.readouterr().out
    bad = [one.text for one in verdicts(tell(of_trace(trace))) if one.kind == "bad"]
    assert len(bad) == 1 and "no event shows" in bad[0] and "seen by polling" in bad[0]


def test_a_gdb_that_is_connected_leaves_the_tables(firmware: Path, launched: Boot, tmp_path: Path) -> None:
    machine = launched(firmware / "stock" / "stock.img")
    with socket.socket(socket.AF_UNIX) as gdb:
        gdb.connect(str(machine.gdb_socket))
        wait_for(lambda: machine.status() == "paused", "the stop for the gdb")
        with pytest.raises(UsageError, match="is a gdb connected to it already"):
            Recorder(machine, tmp_path / "refused", source="watch").__enter__()
        assert not (tmp_path / "refused").exists()
        with Recorder(machine, tmp_path / "trace") as recorder:
            assert recorder.run(seconds=0.2) == "time"
    assert [source.kind for source in Trace.open(tmp_path / "trace").manifest.sources] == ["tables"]


def test_what_only_a_ring_has_is_refused_of_a_stock_kernel(firmware: Path, launched: Boot, tmp_path: Path) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True)
    with pytest.raises(BadData, match="no event ring to record; `--source watch` sees its swaps"):
        Recorder(machine, tmp_path / "trace", source="ring")
    with pytest.raises(UsageError, match="are of the event ring"):
        Recorder(machine, tmp_path / "trace", asked=Asked(also=("call",)))
    assert not (tmp_path / "trace").exists() and machine.status() == "prelaunch"


def test_a_guest_whose_recorder_was_killed_goes_on_without_watchpoints(booted: Boot, tmp_path: Path) -> None:
    machine = booted("registered", hold=1, thresholds=QUICK)
    words = [
        sys.executable,
        "-m",
        "bareflow_gdb.cli.main",
        "trace",
        "record",
        machine.name,
        "--out",
        str(tmp_path / "trace"),
    ]
    with subprocess.Popen([*words, "--source", "watch"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as one:
        wait_for(lambda: (tmp_path / "trace" / "memory" / "index.json").exists(), "the first moment")
        one.send_signal(signal.SIGKILL)
    wait_for(lambda: machine.status() == "running", "the guest to be let go")
    assert bareflow("release", machine.name).returncode == 0
    wait_for_stage(machine, "idle", SECONDS)
    assert recover(tmp_path / "trace") >= 0
    assert Trace.open(tmp_path / "trace").manifest.seen_from_outside


def test_a_guest_that_ends_while_it_is_watched_leaves_a_whole_trace(booted: Boot, tmp_path: Path) -> None:
    machine = booted("registered", hold=1, thresholds=QUICK)
    with Recorder(machine, tmp_path / "trace", source="watch") as recorder:
        recorder.release_hold()
        wait_for(lambda: recorder.drain() >= 0 and recorder.progress().swaps >= 5, "five swaps")
        machine.process.kill(signal.SIGKILL)
        wait_for(lambda: not machine.alive(), "the end of QEMU")
        assert recorder.run(seconds=SECONDS) == "guest gone"
    trace = Trace.open(tmp_path / "trace")
    assert trace.manifest.complete and len(told(trace)) >= 5
    assert record_of(Guest.attach(trace.memory()), "jit").functions


def test_who_pauses_a_guest_that_is_watched_has_it_paused(booted: Boot, tmp_path: Path) -> None:
    machine = booted("registered", hold=1, thresholds=QUICK)
    with Recorder(machine, tmp_path / "trace", source="watch") as recorder:
        machine.pause()
        for _ in range(20):
            recorder.drain()
        assert machine.status() == "paused"
        machine.resume()
        recorder.release_hold()
        assert recorder.run(until_idle=True, seconds=SECONDS) == "idle"
    trace = Trace.open(tmp_path / "trace")
    assert len(told(trace)) == 36 and trace.manifest.missed == 0


def test_a_stock_kernel_that_has_ended_has_nothing_to_be_missed(firmware: Path, launched: Boot, tmp_path: Path) -> None:
    machine = launched(firmware / "stock" / "stock.img")
    wait_for(lambda: "END JSON" in machine.serial() and halted(machine), "the end of the run")
    for source in ("watch", "tables"):
        with Recorder(machine, tmp_path / source, source=source) as recorder:
            assert recorder.run(seconds=SECONDS) == "halted"
        trace = Trace.open(tmp_path / source)
        assert (told(trace), trace.manifest.missed, trace.manifest.functions) == (
            [],
            0,
            ("fibonacci", "sum", "compute"),
        )
