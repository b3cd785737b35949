"""A storm of swaps: every result stays right, nothing is found that is not there, whoever comes and goes meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import program
import pytest
from machines import SECONDS

from bareflow_gdb.guest.base.clock import Counters, read_counters
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.scenario import number
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

SWAPS = 2000
"""Some seconds of them."""
ENDLESS = 1 << 30


@pytest.fixture
def storm(image: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine whose run is a storm of SWAPS, or of as many as the test asks for."""
    settings = RootSettings(scenario=number("swap-storm"), run_calls=getattr(request, "param", SWAPS))
    machine = launch(image, disk=image.parent / "fat16.img", settings=settings)
    try:
        yield machine
    finally:
        machine.stop()


def counters(machine: Machine) -> Counters:
    memory = machine.memory()
    return read_counters(memory, find_root(memory).root)


def test_each_result_is_right_and_nothing_is_found_while_gdbs_and_hosts_come_and_go(storm: Machine) -> None:
    wait_for_stage(storm, "running", SECONDS)
    looks = 0
    while counters(storm).swap_count < SWAPS:
        found = json.loads(program.bareflow("checks", "--json", storm.name).stdout)
        assert found["findings"] == []
        looks += 1
        host = subprocess.Popen(
            [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", storm.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        gdb = ["gdb", "-nx", "-batch", "-ex", f"target remote {storm.gdb_socket}", "-ex", "stepi", "-ex", "detach"]
        assert subprocess.run(gdb, check=False, capture_output=True, timeout=SECONDS).returncode == 0
        assert host.poll() is None
        host.kill()
        host.communicate()
    assert looks > 0
    wait_for_stage(storm, "idle", SECONDS)
    after = counters(storm)
    assert f"[STORM] {SWAPS} swaps, {2 * SWAPS} calls, 0 wrong  [OK]" in storm.serial()
    assert after.swap_count == SWAPS
    found = json.loads(program.bareflow("checks", "--json", storm.name).stdout)
    assert found["findings"] == []


@pytest.mark.parametrize("storm", [ENDLESS], indirect=True)
def test_it_ends_early_when_it_is_told(storm: Machine) -> None:
    wait_for_stage(storm, "running", SECONDS)
    assert program.bareflow("scenario", "stop", storm.name).returncode == 0
    assert counters(storm).swap_count < ENDLESS
    assert "0 wrong  [OK]" in storm.serial()
