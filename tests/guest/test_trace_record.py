"""Recording a real guest: nothing lost, log and ring agree, the trace answers like the guest did."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from machines import SECONDS, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.agree import compare
from bareflow_gdb.analysis.digest import tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.ring import MODE_FLIGHT
from bareflow_gdb.tracing.sql import answer
from bareflow_gdb.tracing.store import Trace, recover

Boot = Callable[..., Machine]
Recorded = tuple[Machine, Path]

QUESTIONS = ("status", "boot", "modules", "pools", "profile", "jit", "swaps")


@pytest.fixture(scope="module")
def recorded(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A machine recorded from its registration to its idle state, thresholds 10/20/30; it still runs."""
    from bareflow_gdb.qemu.image import RootSettings

    directory = tmp_path_factory.mktemp("traces") / "trace"
    machine = launch(image, settings=RootSettings(thresholds=(10, 20, 30), hold=1))
    try:
        wait_for_stage(machine, "registered", SECONDS)
        with Recorder(machine, directory) as recorder:
            recorder.release_hold()
            assert recorder.run(until_idle=True, seconds=SECONDS) == "idle"
        yield machine, directory
    finally:
        machine.stop()


def answers(capsys: pytest.CaptureFixture[str], *words: str) -> object:
    assert cli.main([*words]) in (0, 1)
    return json.loads(capsys.readouterr().out)


def test_every_event_that_the_guest_wrote_is_in_the_trace(recorded: Recorded) -> None:
    machine, directory = recorded
    trace = Trace.open(directory)
    ring = Guest.attach(machine.memory()).kernel().rings()[0]
    events = trace.events()
    main = events[events["ring"] == 0]
    assert ring.head > 300
    assert np.array_equal(main["seq"], np.arange(ring.head))
    assert trace.losses() == [] and trace.lost == 0


def test_every_function_is_swapped_at_the_calls_that_were_set(recorded: Recorded) -> None:
    _, directory = recorded
    swaps = trace_swaps(Trace.open(directory)).swaps
    seen = {(swap.function, swap.from_level, swap.to_level, swap.call) for swap in swaps}
    functions = {swap.function for swap in swaps}
    assert functions >= {"fibonacci", "sum", "compute", "primes"}
    calls = (10, 20, 30)
    assert seen == {(name, level, level + 1, calls[level]) for name in functions for level in range(3)}


def test_the_trace_and_a_core_give_the_same_answers_as_the_guest(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, directory = recorded
    core = tmp_path / "core"
    machine.dump_core(core)
    for question in QUESTIONS:
        live = answers(capsys, question, "--json", machine.name)
        for saved in (directory, core):
            assert answers(capsys, question, "--json", str(saved)) == live, (question, saved)


def test_log_and_ring_tell_the_same_story_and_a_changed_log_is_noticed(recorded: Recorded) -> None:
    _, directory = recorded
    trace = Trace.open(directory)
    swaps = trace_swaps(trace).swaps
    agreement = compare(trace.serial(), swaps)
    assert agreement.agree and agreement.other_swaps >= 12
    serial = trace.serial()
    for changed in (
        serial.replace("[RECOMPILE] sum: O1 -> O2", "[RECOMPILE] sum: O0 -> O2"),
        serial.replace("[ATOMIC-SWAP] Code pointer updated to O3", "[ATOMIC-SWAP] Code pointer", 1),
        serial + "[RECOMPILE] sum: O3 -> O1\n[ATOMIC-SWAP] Code pointer updated to O1\n",
    ):
        assert changed != serial
        assert not compare(changed, swaps).agree


def test_the_code_of_every_version_is_saved_as_it_is_in_guest_memory(recorded: Recorded) -> None:
    machine, directory = recorded
    trace, memory = Trace.open(directory), machine.memory()
    versions = Guest.attach(memory).kernel().versions()
    assert {version.number for version in versions} <= set(trace.codes)
    in_memory = [version for version in versions if version.state in ("published", "retired")]
    assert len(in_memory) >= 8
    for version in in_memory:
        assert trace.code_bytes(version.number) == memory.read(version.code, version.code_size, "code")


def test_the_rings_are_flight_recorders_again_afterwards(recorded: Recorded) -> None:
    machine, _ = recorded
    memory = machine.memory()
    offset = layouts.offset("bf_ring_header", "mode")
    for address in (layouts.const("BF_RING0_HEADER"), layouts.const("BF_RING1_HEADER")):
        assert memory.read(address + offset, 4, "ring mode") == MODE_FLIGHT.to_bytes(4, "little")


@pytest.mark.parametrize("words", [(), ("--type", "console"), ("--type", "publish", "--type", "emit"), ("--last", "7")])
def test_events_are_the_same_from_the_machine_and_from_its_trace(
    recorded: Recorded, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    machine, directory = recorded
    live, traced = (answers(capsys, "events", "--json", target, *words) for target in (machine.name, str(directory)))
    assert live == traced and isinstance(live, list) and len(live) >= 7


def test_sql_answers_from_the_trace_and_reaches_nothing_else(recorded: Recorded) -> None:
    trace = Trace.open(recorded[1])
    query = """select f.name, count(*) as swaps from events join types t on t.number = type
        join functions f on f.number = id where t.name = 'publish' group by 1 order by 1"""
    with answer(trace, query) as reader:
        rows = {row["name"]: row["swaps"] for row in reader.read_all().to_pylist()}
    assert rows["fibonacci"] == 3
    for forbidden in ("select * from read_text('/etc/passwd')", "select * from query", "nonsense", "attach 'x'"):
        with pytest.raises(UsageError), answer(trace, forbidden) as reader:
            reader.read_all()


def test_a_directory_with_something_in_it_is_not_recorded_into(recorded: Recorded) -> None:
    machine, directory = recorded
    before = sorted(path.name for path in directory.iterdir())
    with pytest.raises(UsageError, match="not an empty directory"):
        Recorder(machine, directory)
    assert sorted(path.name for path in directory.iterdir()) == before


def test_many_small_segments_hold_the_same_events_as_one(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    with Recorder(machine, tmp_path / "trace", segment_records=50) as recorder:
        recorder.release_hold()
        recorder.run(until_idle=True, seconds=SECONDS)
    trace = Trace.open(tmp_path / "trace")
    assert len(list((tmp_path / "trace").glob("events-*.parquet"))) >= 2
    assert not list((tmp_path / "trace").glob("journal-*"))
    assert trace.losses() == [] and trace.lost == 0
    assert compare(trace.serial(), trace_swaps(trace).swaps).agree


def test_a_guest_that_dies_in_the_middle_leaves_a_complete_trace(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    with Recorder(machine, tmp_path / "trace") as recorder:
        recorder.release_hold()
        while recorder.progress().events < 100_000:
            recorder.drain()
        os.kill(machine.pid, signal.SIGKILL)
        assert recorder.run(seconds=SECONDS) == "guest gone"
    trace = Trace.open(tmp_path / "trace")
    assert trace.manifest.complete and trace.manifest.ended == "guest gone"
    assert trace.losses() == [] and trace.count >= 100_000
    assert Guest.attach(trace.memory()).kernel().boot().stage == "running"


def record_in_process(machine: Machine, out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "trace", "record", machine.name, "--release"]
    return subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_journal(out: Path, size: int) -> None:
    wait_for(lambda: sum(path.stat().st_size for path in out.glob("journal-*")) >= size, "the journal to grow")


def test_a_recorder_that_is_killed_loses_nothing_that_it_had_drained(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    out = tmp_path / "trace"
    recorder = record_in_process(machine, out)
    wait_for_journal(out, 4 << 20)
    recorder.kill()
    recorder.wait()
    trace = Trace.open(out)
    assert not trace.manifest.complete
    count = trace.count
    assert count >= (4 << 20) // 40 and trace.losses() == []
    assert trace.manifest.functions[:1] == ("fibonacci",)
    assert Guest.attach(trace.memory()).kernel().boot().stage == "registered"
    recover(out)
    again = Trace.open(out)
    assert again.count == count and again.losses() == []
    assert not list(out.glob("journal-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_cleanly(booted: Boot, tmp_path: Path, number: signal.Signals) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    out = tmp_path / "trace"
    recorder = record_in_process(machine, out)
    wait_for_journal(out, 1 << 20)
    recorder.send_signal(number)
    code = recorder.wait(SECONDS)
    trace = Trace.open(out)
    assert trace.manifest.complete and trace.manifest.ended == "interrupted"
    # On a loaded host the guest may have taken the reader for dead meanwhile: then, and only then, events are lost.
    deaths = sum(source.reader_deaths for source in trace.manifest.sources)
    assert code == (1 if trace.lost else 0)
    assert deaths or not trace.lost


def test_a_dead_reader_does_not_stop_the_guest(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    recorder = record_in_process(machine, tmp_path / "trace")
    wait_for_journal(tmp_path / "trace", 1 << 20)
    recorder.kill()
    recorder.wait()
    guest = Guest.attach(machine.memory())
    wait_for(lambda: guest.kernel().rings()[0].reader_deaths, "the guest to find the reader dead")
    before = guest.kernel().rings()[0].head
    wait_for(lambda: (guest.kernel().rings()[0].head - before) % 2**32 >= 100_000, "the guest to go on")


def test_there_is_nothing_to_record_in_a_machine_without_a_kernel(
    launched: Boot, boot_sector: Callable[[str], Path], tmp_path: Path
) -> None:
    machine = launched(boot_sector("hang: hlt\njmp hang"))
    with pytest.raises(BareflowError, match="nothing to record"):
        Recorder(machine, tmp_path / "trace", boot_seconds=0.5)
    assert not (tmp_path / "trace").exists()


def test_two_recorders_do_not_take_each_others_events(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with Recorder(machine, tmp_path / "first") as recorder:
        with pytest.raises(UsageError, match="recorded already"), Recorder(machine, tmp_path / "second"):
            pass
        assert not (tmp_path / "second").exists()
        recorder.run(until_idle=True)
    assert Trace.open(tmp_path / "first").losses() == []


def test_a_guest_that_takes_an_exception_is_recorded_to_its_end(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    memory = machine.memory()
    function = Guest.attach(memory).kernel().functions()[1]
    nowhere = layouts.const("BF_WEIGHTS_BASE")
    memory.write(nowhere, b"\x0f\x0b", "UD2 where no code has run yet")
    with Recorder(machine, tmp_path / "trace") as recorder:
        memory.write(function.slot, nowhere.to_bytes(4, "little"), "the slot of a function")
        recorder.release_hold()
        assert recorder.run(until_idle=True, seconds=SECONDS) == "halted"
    trace = Trace.open(tmp_path / "trace")
    (event,) = decode(trace.events("exception"))
    assert event.ring == 1
    assert event.fields() == {"vector": 6, "eip": nowhere, "error_code": 0, "cr2": event.fields()["cr2"]}
    bad = [verdict.text for verdict in verdicts(tell(of_trace(trace))) if verdict.kind == "bad"]
    assert any("the guest took" in text for text in bad)


def test_a_full_disk_is_one_sentence_and_the_guest_runs_on(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    out = tmp_path / "trace"
    limit = 4 << 20
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "trace", "record", machine.name, "--release"]
    done = subprocess.run(
        [*words, "--out", str(out)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert "File too large" in done.stderr.splitlines()[-1]
    assert Guest.attach(machine.memory()).kernel().rings()[0].mode == "flight"
    trace = Trace.open(out)
    assert not trace.manifest.complete and trace.losses() == [] and trace.count > limit // 40


IN_A_SMALL_DISK = """
mount -t tmpfs -o size=2m none "$1" || exit 77
"$2" -m bareflow_gdb.cli.main trace record "$3" --release --out "$1/trace"
"$2" -m bareflow_gdb.cli.main trace show "$1/trace"
ls -A "$1/trace"
"""


def test_a_disk_without_room_is_named_and_noted_in_the_trace(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, scenario=layouts.const("BF_SCENARIO_RING_FLOOD"))
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", IN_A_SMALL_DISK, "sh", tmp_path, sys.executable]
    done = subprocess.run([*words, machine.name], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip("no file system may be mounted here")
    assert f"cannot write {tmp_path}/trace/journal-000.raw: No space left on device; make room" in done.stderr
    assert "its recording ended early, it could not be written; the events are readable" in done.stdout
    assert ".partial" not in done.stdout


def test_a_trace_that_could_not_be_written_is_not_called_complete(booted: Boot, tmp_path: Path) -> None:
    # The guest writes nothing more, so that the last drain finds nothing that fails a second time.
    machine = booted(stage="idle")
    out = tmp_path / "trace"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OSError, match="File too large"), Recorder(machine, out) as recorder:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            recorder.drain()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Guest.attach(machine.memory()).kernel().rings()[0].mode == "flight"
    trace = Trace.open(out)
    assert not trace.manifest.complete and 0 < trace.count <= 1000 // 32


def test_a_guest_that_reboots_ends_the_recording_without_a_false_loss(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with Recorder(machine, tmp_path / "trace") as recorder:
        recorder.drain()
        machine.qmp("system_reset")
        assert recorder.run(seconds=SECONDS) == "guest restarted"
    trace = Trace.open(tmp_path / "trace")
    assert trace.lost == 0 and trace.losses() == [] and trace.count > 300


def test_leaving_the_recorder_takes_what_was_written_until_then(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with Recorder(machine, tmp_path / "trace"):
        head = Guest.attach(machine.memory()).kernel().rings()[0].head
    assert Trace.open(tmp_path / "trace").count >= head > 300


def test_a_stock_kernel_has_no_ring_which_is_said_at_once(launched: Boot, firmware: Path, tmp_path: Path) -> None:
    machine = launched(firmware / "stock" / "stock.img", with_disk=False)
    wait_for_serial(machine, "--- END JSON ---")
    with pytest.raises(BareflowError, match="stock kernel, which has no event ring to record"):
        Recorder(machine, tmp_path / "trace", boot_seconds=600, source="ring")
    assert not (tmp_path / "trace").exists()
