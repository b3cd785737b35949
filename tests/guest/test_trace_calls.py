"""Recording calls, and chosen types of events: the guest is asked for them, and as it was afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from machines import SECONDS, Boot

from bareflow_gdb.abi.events import event_type
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.tracing.events import decode
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
