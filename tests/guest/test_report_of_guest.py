"""A report of a real guest, made after the guest is gone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from machines import SECONDS
from page_reader import Reader

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.analysis.digest import tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.cli import main as cli
from bareflow_gdb.guest.boot.boot import stage_number
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
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


def test_nothing_is_green_over_a_disk_of_damaged_files(
    image: Path, firmware: Path, launched: Boot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = Path(shutil.copy(firmware / "fat16.img", tmp_path / "disk.img"))
    damaged = {
        "COMPUTE.O1": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        "GEMM_TIL.O2": lambda data: data[: len(data) // 2],
        "PRIMES.MOD": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    }
    for name, change in damaged.items():
        data = subprocess.run(["mtype", "-i", str(disk), f"::{name}"], capture_output=True, check=True).stdout
        (tmp_path / name).write_bytes(change(data))
        subprocess.run(["mcopy", "-o", "-i", str(disk), str(tmp_path / name), f"::{name}"], check=True)
    machine = launched(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30), hold=1))
    wait_for_stage(machine, "registered", SECONDS)
    with Recorder(machine, tmp_path / "trace") as recorder:
        recorder.release_hold()
        recorder.run(until_idle=True, seconds=SECONDS)
    machine.dump_core(tmp_path / "core")
    log = Path(shutil.copy(machine.serial_path, tmp_path / "log"))
    machine.stop()
    for source in ((tmp_path / "trace",), (tmp_path / "core",), (tmp_path / "core", "--serial", log), (log,)):
        out = tmp_path / "page.html"
        assert cli.main(["report", *map(str, source), "--json", "--out", str(out)]) == 1
        found = json.loads(capsys.readouterr().out)["findings"]
        bad = " ".join(one["finding"] for one in found if one["kind"] == "bad")
        for name in damaged:
            assert name in bad, (source, bad)
        assert found[0]["kind"] == "bad" and not any("nothing wrong" in one["finding"] for one in found)
        words = Reader(out.read_text()).text
        assert words.index("the kernel refused") < words.index("Swaps")
