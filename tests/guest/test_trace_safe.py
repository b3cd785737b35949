"""A recording that is disturbed: killed, signalled, doubled, recovered too early, flooded with code."""

from __future__ import annotations

import os
import pty
import signal
import stat
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machines import SECONDS, Boot, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.cli import main as cli
from bareflow_gdb.cli.signals import ENDING
from bareflow_gdb.errors import UsageError
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.events import EVENT_DTYPE
from bareflow_gdb.tracing.limits import CodeLimits
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.store import Trace, recover

BAREFLOW = (sys.executable, "-m", "bareflow_gdb.cli.main")
FLOOD = layouts.const("BF_SCENARIO_RING_FLOOD")


def start(machine: Machine, out: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    line = [*BAREFLOW, "trace", "record", machine.name, "--out", str(out), *words]
    given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heard, **options}
    return subprocess.Popen(line, **given)


def heard() -> None:
    """The tests themselves may run under `nohup`, whose ignored signals children inherit."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


def journalled(out: Path) -> int:
    """Bytes of events on disk."""
    return sum(path.stat().st_size for pattern in ("journal-*", "events-*") for path in out.glob(pattern))


def wait_for_events(out: Path) -> None:
    wait_for(lambda: journalled(out) >= 1 << 20, "the journal to grow")


@pytest.fixture
def flood(booted: Boot) -> Machine:
    """A guest that writes events as fast as it can once it is released."""
    return booted(stage="registered", hold=1, scenario=FLOOD)


def test_a_recorder_that_is_killed_at_once_leaves_a_trace(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    early = 0
    for number in range(4):
        out = tmp_path / f"trace-{number}"
        # An empty directory, and what a recorder began that was killed even before, are no obstacle.
        out.mkdir()
        (out / ".manifest.json.1-2.partial").touch()
        with start(machine, out) as recorder:
            wait_for((out / "manifest.json").exists, "the manifest")
            recorder.kill()
        early += not (out / "memory" / "index.json").exists()
        assert cli.main(["trace", "show", str(out)]) == 0
        assert cli.main(["trace", "recover", str(out)]) == 0
        assert sorted(path.name for path in out.glob(".*")) == []
    # Before anything else was saved.
    assert early


def test_a_recording_that_still_runs_is_not_recovered_and_loses_nothing(flood: Machine, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    with start(flood, out, "--release") as recorder:
        wait_for_events(out)
        with pytest.raises(UsageError, match="still being recorded"):
            recover(out)
        assert Trace.open(out).recorded_now
        recorder.send_signal(signal.SIGINT)
        recorder.communicate()
    trace = Trace.open(out)
    assert trace.manifest.complete and not trace.recorded_now
    assert trace.losses() == [] and trace.count == sum(source.events for source in trace.manifest.sources)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_second_recorder_is_refused_whatever_the_modes(
    booted: Boot, tmp_path: Path, first: bool, second: bool
) -> None:
    machine = booted(stage="idle")
    with Recorder(machine, tmp_path / "first", lossless=first):
        with (
            pytest.raises(UsageError, match="recorded already"),
            Recorder(machine, tmp_path / "second", lossless=second),
        ):
            pass
        assert not (tmp_path / "second").exists()


def test_of_two_recorders_that_start_at_once_one_is_refused(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    both = [start(machine, tmp_path / "lossless"), start(machine, tmp_path / "flight", "--flight")]
    refused = wait_for(lambda: next((one for one in both if one.poll() is not None), None), "one to be refused")
    other = next(one for one in both if one is not refused)
    assert refused.returncode == 2 and "recorded already" in refused.communicate()[1]
    wait_for(lambda: any(journalled(path) for path in tmp_path.iterdir()), "events")
    other.send_signal(signal.SIGINT)
    other.communicate(timeout=SECONDS)
    assert other.returncode == 0
    [trace] = tmp_path.iterdir()
    assert Trace.open(trace).manifest.complete


def test_a_recorder_that_stands_still_keeps_its_claim(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with start(machine, tmp_path / "first", "--flight") as recorder:
        wait_for(lambda: journalled(tmp_path / "first"), "events")
        recorder.send_signal(signal.SIGSTOP)
        # It beats no more.
        with pytest.raises(UsageError, match="recorded already"), Recorder(machine, tmp_path / "second"):
            pass
        recorder.send_signal(signal.SIGCONT)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=SECONDS)
    assert Trace.open(tmp_path / "first").manifest.complete


@pytest.mark.parametrize("lossless", [True, False])
def test_the_claim_of_a_recorder_that_was_killed_lapses(booted: Boot, tmp_path: Path, lossless: bool) -> None:
    machine = booted(stage="idle")
    with start(machine, tmp_path / "first", *([] if lossless else ["--flight"])) as recorder:
        wait_for(lambda: (tmp_path / "first" / "memory" / "index.json").exists(), "the first moment")
        recorder.kill()
    with Recorder(machine, tmp_path / "second"):
        pass
    assert Trace.open(tmp_path / "second").lost == 0


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGXCPU"])
def test_every_signal_that_ends_a_program_completes_the_trace(booted: Boot, tmp_path: Path, name: str) -> None:
    machine = booted(stage="idle")
    out = tmp_path / "trace"
    with start(machine, out) as recorder:
        wait_for(lambda: journalled(out), "events")
        recorder.send_signal(getattr(signal, name))
        recorder.communicate(timeout=SECONDS)
        assert recorder.returncode == 0
    assert Trace.open(out).manifest.ended == "interrupted"


def test_signals_while_the_trace_is_completed_change_nothing(flood: Machine, tmp_path: Path) -> None:
    out = tmp_path / "trace"
    with start(flood, out, "--release") as recorder:
        wait_for(lambda: (out / "events-000.parquet").exists() or len(list(out.glob("journal-*"))) > 2, "segments")
        recorder.send_signal(signal.SIGTERM)
        assert recorder.stderr is not None
        for line in recorder.stderr:
            if line.startswith("completing"):
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                    recorder.send_signal(number)
                break
        recorder.communicate(timeout=SECONDS)
    trace = Trace.open(out)
    assert trace.manifest.complete and trace.losses() == []


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM"])
@pytest.mark.parametrize("ignored", [False, True], ids=["", "SIGINT ignored"])
def test_a_signal_ends_the_wait_for_a_kernel(
    launched: Boot, boot_sector: Any, tmp_path: Path, name: str, ignored: bool
) -> None:
    machine = launched(boot_sector("hang: hlt\njmp hang"))
    out = tmp_path / "trace"
    options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)} if ignored else {}
    with start(machine, out, **options) as recorder:
        handled = 1 << (signal.SIGUSR1 - 1)
        wait_for(lambda: signals_of(recorder.pid, "SigCgt") & handled, "the handlers")
        recorder.send_signal(getattr(signal, name))
        _, said = recorder.communicate(timeout=SECONDS)
        assert recorder.returncode == 130 and said == "bareflow: interrupted\n"
    assert not out.exists()


def signals_of(pid: int, mask: str) -> int:
    """A set of signals of a process: SigCgt, those it handles, SigIgn, those it ignores."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith(mask))


def test_sigint_completes_a_recording_in_the_background_and_nohup_outlives_a_hangup(
    booted: Boot, tmp_path: Path
) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    machine = booted(stage="idle")
    out = tmp_path / "trace"
    with start(machine, out, preexec_fn=ignore) as recorder:
        wait_for(lambda: journalled(out), "events")
        recorder.send_signal(signal.SIGHUP)
        assert signals_of(recorder.pid, "SigIgn") & 1 << (signal.SIGHUP - 1)
        recorder.send_signal(signal.SIGINT)
        recorder.communicate(timeout=SECONDS)
    assert Trace.open(out).manifest.ended == "interrupted"


def test_a_terminal_that_is_closed_ends_a_recording_cleanly(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    out = tmp_path / "trace"
    line = [*BAREFLOW, "trace", "record", machine.name, "--out", str(out)]
    child, terminal = pty.fork()
    if not child:
        os.execv(line[0], line)
    wait_for(lambda: journalled(out), "events")
    os.close(terminal)
    os.waitpid(child, 0)
    trace = Trace.open(out)
    assert trace.manifest.complete and trace.manifest.ended == "interrupted" and trace.losses() == []


def test_a_reader_of_its_messages_that_goes_away_does_not_end_a_recording(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    out = tmp_path / "trace"
    with start(machine, out, "--seconds", "3", stdout=subprocess.PIPE) as recorder:
        assert recorder.stdout is not None and recorder.stderr is not None
        recorder.stdout.close()
        recorder.stderr.close()
        recorder.wait(SECONDS)
    assert Trace.open(out).manifest.ended == "time"


@pytest.mark.parametrize("shared", [False, True])
def test_a_trace_and_a_core_are_private_unless_they_are_shared(booted: Boot, tmp_path: Path, shared: bool) -> None:
    machine = booted(stage="idle")
    words = ["--shared"] if shared else []
    trace, core = tmp_path / "trace", tmp_path / "core"
    before = os.umask(0o022)
    try:
        assert cli.main(["trace", "record", machine.name, "--until-idle", "--out", str(trace), *words]) == 0
        assert cli.main(["core", "--out", str(core), machine.name, *words]) == 0
    finally:
        os.umask(before)
    files = [core, *(path for path in trace.rglob("*") if path.is_file())]
    folders = [trace, *(path for path in trace.rglob("*") if path.is_dir())]
    assert len(folders) == 3 and len(files) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644 if shared else 0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o755 if shared else 0o700}


def test_a_guest_that_announces_code_without_end_fills_no_disk(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with Recorder(machine, tmp_path / "trace", code_limits=CodeLimits(total_bytes=1 << 20)) as recorder:
        recorder.drain()
        memory = machine.memory()
        place, size, count = layouts.const("BF_WEIGHTS_BASE"), 1 << 16, 100
        for number in range(count):
            memory.write(place, number.to_bytes(4, "little"), "code that is another each time")
            announce(machine, 1_000_000 + number, place, size, zlib.crc32(memory.read(place, size, "code")))
            recorder.drain()
        recorder.drain()
    trace = Trace.open(tmp_path / "trace")
    assert sum(path.stat().st_size for path in (tmp_path / "trace" / "code").glob("*.bin")) <= 1 << 20
    saved = [number for number, code in trace.codes.items() if code.sha256 and number >= 1_000_000]
    assert 10 <= len(saved) < 16
    assert trace.code_left_out == count - len(saved)


def announce(machine: Machine, version: int, place: int, size: int, crc: int) -> None:
    """An EMIT event, put into the ring in the guest's stead: it is idle, and writes nothing itself."""
    memory = machine.memory()
    head_at = layouts.const("BF_RING0_HEADER") + layouts.offset("bf_ring_header", "head")
    head = int.from_bytes(memory.read(head_at, 4, "head"), "little")
    event = np.zeros(1, EVENT_DTYPE)
    event["seq"], event["type"], event["arg"] = head, BY_NAME["emit"].number, (place, size, crc, version)
    index = head % layouts.const("BF_RING0_CAPACITY")
    memory.write(layouts.const("BF_RING0_RECORDS") + index * event.itemsize, event.tobytes(), "an event")
    memory.write(head_at, (head + 1).to_bytes(4, "little"), "head")
