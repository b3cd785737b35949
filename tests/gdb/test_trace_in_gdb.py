"""`bf trace` on the real guest: recording goes on beside gdb, and its end completes the trace."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import SCRIPT, Gdb, bareflow
from machines import wait_for
from mi_gdb import MiGdb

from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.recorder import Recorder

Boot = Callable[..., Machine]


def test_a_recorded_run_holds_every_swap_and_lost_nothing(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    trace = tmp_path / "trace"
    result = gdb.run(
        f"bf attach {machine.name}",
        f"bf trace start {trace}",
        "bf trace status",
        "bf release",
        # All but the last swap pass; the guest is stopped at the last one's store.
        *["bf step-swap primes --stay --lines 1"] * 3,
        "bf trace stop --json",
    )
    assert f"recording: machine {machine.name} into {trace}" in result.out
    summary = json.loads(result.out[result.out.index('{\n  "directory"') :].split("\n}\n")[0] + "\n}")
    assert summary["lost"] == 0
    assert summary["directory"] == str(trace)
    swaps = bareflow("swaps", "--json", str(trace)).json()["swaps"]
    assert len(swaps) == 11


def test_the_end_of_gdb_completes_the_trace(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    gdb.run(f"bf attach {idle_machine.name}", f"bf trace start {trace}", "detach")
    manifest = trace / "manifest.json"
    wait_for(lambda: manifest.exists() and json.loads(manifest.read_text())["complete"], "the end of the recorder")


def test_what_cannot_be_recorded_is_one_sentence(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("not a trace")
    result = gdb.run(
        f"bf attach {idle_machine.name}", "bf trace stop", f"bf trace start {tmp_path / 'full'}", "bf trace status"
    )
    lines = result.err.strip().splitlines()
    assert lines[0] == "bf trace: nothing is being recorded; `bf trace start` begins"
    assert lines[1].startswith("bf trace: the recorder did not start: ")
    assert lines[2] == lines[0]


@pytest.mark.parametrize("lossless", [True, False])
def test_gdb_and_a_shell_record_a_guest_one_at_a_time(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path, lossless: bool
) -> None:
    mode = "" if lossless else "--flight"
    record = f"{sys.executable} -m bareflow_gdb.cli.main trace record {idle_machine.name} --seconds 0 {mode}"
    refusal = "this guest is being recorded already; end that recording first\n"
    with Recorder(idle_machine, tmp_path / "shell", lossless=lossless):
        result = gdb.run(f"bf attach {idle_machine.name}", f"bf trace start {tmp_path / 'gdb'}")
        assert result.err == f"bf trace: the recorder did not start: trace: {refusal}"
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        f"bf trace start {tmp_path / 'gdb'}",
        f"shell {record} --out {tmp_path / 'shell2'}",
        "bf trace stop --json",
    )
    assert result.err == f"bareflow trace: {refusal}"
    assert json.loads((tmp_path / "gdb" / "manifest.json").read_text())["complete"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gdb", "shell"]


def test_traces_are_where_gdb_is_and_one_at_a_time(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        "bf trace start",
        "bf trace start other",
        "bf trace stop other",
        "bf trace stop --json",
        "bf trace start",
        "bf trace stop --json",
        "bf trace start other",
        "bf trace stop --json",
        cwd=tmp_path,
    )
    first = tmp_path / f"trace-{idle_machine.name}"
    places = [line.split('"')[3] for line in result.out.splitlines() if line.startswith('  "directory"')]
    assert places == [str(first), f"{first}-2", str(tmp_path / "other")]
    for place in places:
        assert json.loads((Path(place) / "manifest.json").read_text())["complete"] is True
    assert result.err.splitlines()[-2:] == [
        f"bf trace: recording into {first} already; `bf trace stop` ends it",
        "bf trace: `bf trace stop` takes no directory",
    ]


def test_a_recorder_whose_machine_has_ended_is_told_as_ended(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted()
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.run(f"bf trace start {tmp_path / 'trace'}")
        (recorder,) = session.children("record")
        os.kill(recorder, signal.SIGTERM)
        wait_for(lambda: session.run("bf trace status").startswith("ended: machine"), "the recorder's end")
        # Another one may begin then.
        said = session.run(f"bf trace start {tmp_path / 'second'}")
        assert said.startswith("recording: machine")
        assert "`bf trace stop` ends it" in said and "Ctrl-C" not in said
