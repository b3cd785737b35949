"""Machines with the real kernel: waiting, holding, releasing, counting instructions."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from machines import Assemble, Boot
from program import bareflow

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.boot import stage_number
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings
from bareflow_gdb.qemu.machine import Machine

KERNEL = layouts.const("BF_IMAGE_LBA") * SECTOR
RECORD = layouts.const("BF_BOOT_RECORD_ADDRESS")


def boot_record(machine: Machine) -> Any:
    data = machine.memory().read(RECORD, layouts.size("bf_boot_record"), "boot record")
    return layouts.unpack("bf_boot_record", data)


def test_a_held_guest_waits_at_registered_until_it_is_released(booted: Boot) -> None:
    machine = booted("registered", hold=1)
    with pytest.raises(BareflowError, match=r"did not reach stage running within .* the last stage is registered"):
        wait_for_stage(machine, "running", 0.3)
    assert release(machine)
    wait_for_stage(machine, "idle")
    assert not release(machine)


def test_a_stopped_machine_is_released_as_far_as_it_can_be(launched: Boot, image: Path) -> None:
    machine = launched(image, name="stopped", paused=True, settings=RootSettings(hold=1))
    done = bareflow("release", "stopped")
    assert done.returncode == 2 and "not held yet: the machine was started with --paused; let it run" in done.stderr
    machine.resume()
    wait_for_stage(machine, "registered")
    machine.pause()
    done = bareflow("release", "stopped")
    assert (
        done.returncode == 0 and "machine stopped is released, and stands still: the machine is stopped" in done.stdout
    )
    assert json.loads(bareflow("release", "stopped", "--json").stdout)["released"] is False
    machine.resume()
    wait_for_stage(machine, "idle")


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
    # The clock was set back since.
    path = Machine.find("byhand").directory / "machine.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "created": time.time() + 7200}))
    assert " 0 s  stage registered" in bareflow("list").stdout
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


def test_run_that_does_not_reach_its_stage_keeps_the_machine_as_evidence(image: Path) -> None:
    done = bareflow("run", "--image", str(image), "--name", "late", "--hold", "--wait", "idle", "--timeout", "1")
    try:
        assert (done.returncode, done.stdout) == (1, "")
        assert "did not reach stage idle within 1 s" in done.stderr
        for step in ("`bareflow status late`", "`bareflow serial late`", "`bareflow stop late`"):
            assert step in done.stderr
        held = json.loads(bareflow("status", "--json", "late").stdout)
        assert held["problems"] == [] and {one["last_result"] for one in held["functions"]} == {None}
        assert "[serial] init ok" in bareflow("serial", "late").stdout
        again = bareflow("wait", "late", "idle", "--timeout", "1")
        assert (again.returncode, "did not reach stage idle within 1 s" in again.stderr) == (1, True)
    finally:
        assert bareflow("stop", "late").returncode == 0


HOPELESS = {
    "FATAL ERROR": "gave up with FATAL ERROR: 0xD1",
    "halt": "halted for good, with interrupts off",
    "reboot loop": r"reboots in a loop, \d+ boots so far",
}


@pytest.mark.parametrize("case", HOPELESS)
def test_waiting_ends_when_the_stage_cannot_be_reached_any_more(
    case: str, image: Path, boot_sector: Assemble, tmp_path: Path
) -> None:
    disk = tmp_path / "cut.img"
    if case == "FATAL ERROR":
        disk.write_bytes(image.read_bytes()[: KERNEL + 5 * SECTOR])
    elif case == "halt":
        # With a boot record, as if stage 1 had run.
        magic, stage = layouts.const("BF_BOOT_MAGIC"), layouts.offset("bf_boot_record", "stage")
        code = f"mov dword [{RECORD}], {magic}\nmov dword [{RECORD + stage}], 1\ncli\nhlt"
        disk = boot_sector(code)
    else:
        # Prints the kernel's first line, then a triple fault.
        magic, stage = layouts.const("BF_BOOT_MAGIC"), layouts.offset("bf_boot_record", "stage")
        record = f"mov dword [{RECORD}], {magic}\nmov dword [{RECORD + stage}], 1\n"
        say = "mov si, text\nmov dx, 0x3f8\nmov cx, 17\ncld\nrep outsb\n"
        fault = "lidt [none]\nint3\nnone: dw 0\ndd 0\ntext: db '[serial] init ok', 10\n"
        disk = boot_sector(record + say + fault)
    try:
        done = bareflow(
            "run", "--image", str(disk), "--no-disk", "--name", "dead", "--wait", "idle", "--timeout", "900"
        )
        assert (done.returncode, bool(re.search(HOPELESS[case], done.stderr))) == (1, True), done.stderr
        assert "was kept" in done.stderr
        if case != "reboot loop":
            again = bareflow("wait", "dead", "idle", "--timeout", "900")
            assert (again.returncode, bool(re.search(HOPELESS[case], again.stderr))) == (1, True), again.stderr
    finally:
        bareflow("stop", "dead")


def test_live_events_of_a_type_are_all_that_the_ring_holds(idle_machine: Machine) -> None:
    def told(*words: str) -> list[Any]:
        return json.loads(bareflow("events", "--json", idle_machine.name, *words).stdout)

    everything = [event for event in told("--last", "1000000") if event["type"] == "publish"]
    assert len(everything) == 36
    assert told("--type", "publish") == everything
    assert told("--type", "publish", "--last", "3") == everything[-3:]
    assert told("--type", "module_load", "--last", "1000")
    nothing = bareflow("events", idle_machine.name, "--type", "host_call_not_there")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    empty = bareflow("events", idle_machine.name, "--type", "call")
    assert (empty.returncode, "no events of type call" in empty.stdout) == (1, True)
    first = bareflow("events", idle_machine.name, "--type", "publish").stdout.splitlines()
    assert "cycle 0 is the first event shown" in first[0]
    assert len(first) == 37


def test_one_json_document_stands_between_lone_braces_of_the_serial_log(idle_machine: Machine) -> None:
    """What scripts do: sed -n '/^{$/,/^}$/p' serial.log."""
    taken = subprocess.run(["sed", "-n", "/^{$/,/^}$/p", idle_machine.serial_path], capture_output=True, check=True)
    assert json.loads(taken.stdout)["num_modules"] > 0
