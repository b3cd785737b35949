"""Machines with the real kernel: waiting, holding, releasing, counting instructions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machines import Boot

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.boot import stage_number
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.qemu.machine import Machine

RECORD = layouts.const("BF_BOOT_RECORD_ADDRESS")


def boot_record(machine: Machine) -> Any:
    data = machine.memory().read(RECORD, layouts.size("bf_boot_record"), "boot record")
    return layouts.unpack("bf_boot_record", data)


def bareflow(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "bareflow_gdb.cli.main", *words]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_a_held_guest_waits_at_registered_until_it_is_released(booted: Boot) -> None:
    machine = booted("registered", hold=1)
    with pytest.raises(BareflowError, match=r"did not reach stage running within .* the last stage is registered"):
        wait_for_stage(machine, "running", 0.3)
    assert release(machine)
    wait_for_stage(machine, "idle")
    assert not release(machine)


def test_the_thresholds_of_the_launch_are_those_of_the_run(booted: Boot) -> None:
    machine = booted(thresholds=(5, 6, 7))
    assert "[Call 5] Threshold reached - recompiling to O1..." in machine.serial()


def test_instruction_counting_gives_the_kernel_the_same_ticks_in_every_run(booted: Boot) -> None:
    """From the kernel's first instruction on; before it the BIOS waits for the disk, in host time."""
    ticks = [boot_record(booted(icount=0)).stage_tsc[stage_number("kernel") : 15] for _ in range(3)]
    elapsed = [[tick - run[0] for tick in run] for run in ticks]
    assert elapsed[0][-1] > 0
    assert elapsed[0] == elapsed[1] == elapsed[2]


def test_a_guest_booted_as_a_floppy_is_read_by_chs(booted: Boot) -> None:
    machine = booted("core", floppy=True)
    assert boot_record(machine).disk_method == layouts.const("BF_DISK_CHS")


def test_the_command_line_runs_lists_cores_and_stops(image: Path, tmp_path: Path) -> None:
    words = ("run", "--json", "--image", str(image), "--name", "byhand", "--thresholds", "10,20,30", "--hold")
    started = bareflow(*words, "--wait", "registered")
    assert started.returncode == 0, started.stderr
    assert json.loads(started.stdout)["name"] == "byhand"
    assert "stage registered" in bareflow("list").stdout
    assert bareflow("release", "byhand").returncode == 0
    wait_for_stage(Machine.find("byhand"), "idle")
    assert bareflow("release", "byhand").returncode == 1
    core = tmp_path / "core"
    made = bareflow("core", "--out", str(core), "byhand", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["bytes"] == core.stat().st_size
    assert bareflow("run", "--image", str(image), "--name", "byhand").returncode == 2
    assert bareflow("stop", "byhand").returncode == 0
    assert bareflow("stop", "byhand").returncode == 2


def test_run_that_does_not_reach_its_stage_leaves_no_machine(image: Path) -> None:
    done = bareflow("run", "--image", str(image), "--name", "late", "--hold", "--wait", "idle", "--timeout", "1")
    assert done.returncode == 2
    assert "did not reach stage idle within 1 s" in done.stderr
    assert "late" not in [machine.name for machine in Machine.all()]
