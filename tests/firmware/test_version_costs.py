"""The dispatcher measures what the calls of each version take: all of them at first, fewer and fewer later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.code.costs import read_costs
from bareflow_gdb.guest.code.functions import read_tables
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine


@pytest.fixture(scope="module")
def idle(image: Path) -> Iterator[Machine]:
    """Thresholds 5/40/300: the versions of a function are called 5, 35, 260 times, and once."""
    machine = launch(image, settings=RootSettings(thresholds=(5, 40, 300)))
    try:
        wait_for_stage(machine, "idle", SECONDS)
        yield machine
    finally:
        machine.stop()


def kept(calls: int, room: int) -> tuple[int, int]:
    """After so many calls: one of how many is a sample, and how many there are."""
    every, samples, coming = 1, 0, 1
    for call in range(1, calls + 1):
        if call == coming:
            if samples == room:
                every, samples = 2 * every, room // 2
            samples += 1
            coming += every
    return every, samples


def test_every_call_of_every_version_is_counted_and_the_samples_are_as_many_as_said(idle: Machine) -> None:
    guest = Guest.attach(idle.memory())
    tables = read_tables(guest.memory, guest.root(), [])
    costs = read_costs(guest.memory, guest.root(), tables)
    whole = layouts.const("BF_COST_SAMPLES")
    assert len(tables.versions) == len(costs) == 4 * len(tables.functions) >= 48
    for version in tables.versions:
        cost = costs[version.number]
        assert cost.calls == (5, 35, 260, 1)[version.level], version.title
        assert (cost.every, len(cost.cycles)) == kept(cost.calls, whole), version.title
        assert len(cost.cycles) <= whole and min(cost.cycles) > 0


def test_the_shortest_call_is_no_shorter_than_the_profiler_says(idle: Machine) -> None:
    guest = Guest.attach(idle.memory())
    tables = read_tables(guest.memory, guest.root(), [])
    costs = read_costs(guest.memory, guest.root(), tables)
    profile = {one.id: one for one in guest.kernel().profile().functions}
    for version in tables.versions:
        known = profile[tables.functions[version.function].profiler_id]
        cycles = costs[version.number].cycles
        assert known.min_cycles is not None
        assert known.min_cycles <= min(cycles) and max(cycles) <= known.max_cycles, version.title


def test_swaps_tell_what_they_were_worth(idle: Machine) -> None:
    swaps = Guest.attach(idle.memory()).kernel().swaps()
    assert swaps.no_worth == "" and len(swaps.swaps) >= 36
    for swap in swaps.swaps:
        worth = swap.worth
        assert worth is not None and worth.made is not None and worth.made > 0
        assert (worth.verdict == "unknown") == (swap.to_level in (1, 3)), swap
        if swap.to_level == 1:
            assert worth.why == "5 calls were measured before it, fewer than 8"
        if swap.to_level == 3:
            assert worth.why == "1 call was measured after it, fewer than 8"
        if worth.verdict != "unknown":
            assert worth.saved_low is not None and worth.saved is not None and worth.saved_high is not None
            assert worth.saved_low <= worth.saved <= worth.saved_high
