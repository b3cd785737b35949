"""Recording calls, chosen types and a part of the events: the guest is asked for them, and as it was afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from machines import SECONDS, Boot

from bareflow_gdb.abi.events import BY_NAME, event_type
from bareflow_gdb.analysis.same_run import same_run
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.filters import Filter
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.ring import Asked
from bareflow_gdb.tracing.store import Trace


def test_calls_are_recorded_with_arguments_and_results_and_no_other_types(
    booted: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = booted(stage="registered", hold=1)
    rings = Guest.attach(machine.memory()).kernel().rings
    before = [(ring.types_off, ring.head) for ring in rings()]
    assert "call" in before[0][0]
    with pytest.raises(UsageError, match="there is no event type nonsense"):
        Recorder(machine, tmp_path / "never", asked=Asked(("nonsense",)))
    words = ["trace", "record", machine.name, "--out", str(tmp_path / "trace"), "--until-idle", "--release"]
    assert cli.main([*words, "--type", "publish", "--calls", "--seconds", str(SECONDS), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["only"] == ["publish", "call"] and dict(told["types"])["call"] == 12 * 31
    trace = Trace.open(tmp_path / "trace")
    events = trace.events()
    late = events[(events["ring"] == 0) & (events["seq"] >= before[0][1])]
    assert {event_type(number).name for number in np.unique(late["type"]).tolist()} == {"publish", "call"}
    assert np.array_equal(np.diff(late["seq"]), np.ones(len(late) - 1)) and trace.lost == 0
    functions = Guest.attach(machine.memory()).kernel().jit().functions
    calls = [event.fields() for event in decode(trace.events("call"))]
    for function in functions:
        told_calls = [call for call in calls if call["function"] == function.index]
        assert {(call["a"], call["b"]) for call in told_calls} == {function.arguments}
        assert {call["result"] for call in told_calls} == {function.last_result}
        versions = [call["version"] for call in told_calls]
        assert versions == sorted(versions) and len(set(versions)) == 4
    assert [ring.types_off for ring in rings()] == [types_off for types_off, _ in before]
    assert cli.main(["trace", "info", str(tmp_path / "trace")]) == 0
    assert "asked for  publish, call; other types" in capsys.readouterr().out


def test_a_recording_of_one_function_from_a_call_on_says_what_it_left_out_and_what_did_not_come(
    booted: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = booted(stage="registered", hold=1)
    written = Guest.attach(machine.memory()).kernel().rings
    words = ["trace", "record", machine.name, "--out", str(tmp_path / "trace"), "--until-idle", "--release", "--calls"]
    asked = ["--function", "primes", "--function", "nobody", "--after-call", "sum:20", "--seconds", str(SECONDS)]
    assert cli.main([*words, *asked, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["filter"] == ["of primes, nobody", "from call 20 of sum on"] and told["lost"] == 0
    assert told["unmet"][0].startswith("no function or module nobody was seen; there are: compute, ")
    assert told["events"] + told["left_out"] == sum(ring.head for ring in written())
    trace = Trace.open(tmp_path / "trace")
    assert trace.losses() == []
    functions = Guest.attach(machine.memory()).kernel().jit().functions
    index = {function.name: function.index for function in functions}
    named = [event for event in decode(trace.events()) if BY_NAME[event.type].id == "function"]
    assert {event.id for event in named} == {index["primes"]}
    # The run takes the functions in turn: sum's are over when those of primes begin.
    assert len([event for event in named if event.type == "call"]) == 31
    assert [event.fields()["level"] for event in named if event.type == "publish"] == [1, 2, 3]
    with pytest.raises(
        UsageError, match="cannot tell all swaps, only of primes, nobody; from call 20 of sum on was kept"
    ):
        same_run(trace, trace)
    assert cli.main(["trace", "verify", str(tmp_path / "trace")]) == 0
    assert cli.main(["trace", "info", str(tmp_path / "trace")]) == 1
    assert "events are left out\n  NOT MET    no function or module nobody" in capsys.readouterr().out


def test_around_an_exception_so_many_events_are_kept(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    guest = Guest.attach(machine.memory())
    primes = next(version for version in guest.kernel().versions() if version.function_name == "primes")
    with Recorder(machine, tmp_path / "trace", wanted=Filter(around=5)) as recorder:
        with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
            stub.write(primes.entry + 3, b"\x0f\x0b", "UD2 behind the prologue")
        recorder.release_hold()
        assert recorder.run(seconds=SECONDS) == "halted"
    trace = Trace.open(tmp_path / "trace")
    events = list(decode(trace.events()))
    at = next(number for number, event in enumerate(events) if event.type == "exception")
    mine = [event for event in events if event.ring == events[at].ring]
    assert len(mine[: mine.index(events[at])]) == 5 and len(mine) <= 11
    assert trace.manifest.left_out > 50 and trace.losses() == []
    with pytest.raises(UsageError, match="exceptions and the flight recorder are of the event ring"):
        Recorder(machine, tmp_path / "never", source="tables", wanted=Filter(around=5))
