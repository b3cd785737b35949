"""A report of a real guest, made after the guest is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from machines import SECONDS

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.analysis.digest import tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.guest.boot.boot import stage_number
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.render.report.page import page
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.store import Trace

Boot = Callable[..., Machine]


def test_a_report_tells_the_whole_story_when_the_guest_is_gone(booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, thresholds=(7, 70, 700))
    with Recorder(machine, tmp_path / "trace") as recorder:
        recorder.release_hold()
        recorder.run(until_idle=True, seconds=SECONDS)
    machine.stop()
    digest = tell(of_trace(Trace.open(tmp_path / "trace")))
    assert [verdict.text for verdict in verdicts(digest) if verdict.kind == "bad"] == []
    assert digest.missing == ()
    assert {swap.call for swap in digest.swaps.swaps} == {7, 70, 700}
    assert digest.boot is not None and digest.boot.stage == "idle"
    compared = {comparison.swap.to_version: comparison for comparison in digest.comparisons}
    for swap in digest.swaps.swaps:
        comparison = compared[swap.to_version]
        assert comparison.missing == "" and comparison.rows
        assert comparison.new_size == swap.code_size
        assert comparison.equal == swap.same_code
    text = page(digest)
    for swap in digest.swaps.swaps:
        assert f"0x{swap.new_code:08x}" in text


def test_under_icount_two_flight_recordings_tell_the_same_instructions(booted: Boot, tmp_path: Path) -> None:
    # A hold that the host releases, a lossless ring, or the BIOS' disk would let the host's time in. The serial
    # port's wait does so too, a few instructions at a time.
    serial_waits = 2000
    events = []
    for run in ("first", "second"):
        machine = booted(stage="idle", icount=0)
        with Recorder(machine, tmp_path / run, lossless=False) as recorder:
            recorder.run(until_idle=True, seconds=SECONDS)
        trace = Trace.open(tmp_path / run)
        assert trace.manifest.clock == "icount"
        recorded = trace.events()
        is_kernel = (recorded["type"] == BY_NAME["boot"].number) & (recorded["id"] == stage_number("kernel"))
        (kernel,) = np.flatnonzero(is_kernel)
        recorded["tsc"] -= recorded["tsc"][kernel]
        events.append(recorded[kernel:])
    assert len(events[0]) > 300
    first, second = events
    for column in ("seq", "type", "id", "arg"):
        assert np.array_equal(first[column], second[column]), column
    assert np.abs(first["tsc"].astype(np.int64) - second["tsc"].astype(np.int64)).max() < serial_waits
