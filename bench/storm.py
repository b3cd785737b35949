"""How many swaps a second does the guest make, and is every result right? 100,000 of them, while all modules run."""

from __future__ import annotations

import time
from pathlib import Path

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.scenario import number
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bench.ring import status_of
from bench.row import Row, row

SWAPS = 100_000
BOOT_SECONDS = 120.0
STORM_SECONDS = 1200.0


def measure(image: Path, swaps: int = SWAPS) -> list[Row]:
    """The rows storm_swaps, storm_wrong (of twice as many calls) and storm_swaps_per_s."""
    settings = RootSettings(scenario=number("swap-storm"), run_calls=swaps)
    machine = launch(image, disk=image.parent / "fat16.img", settings=settings)
    try:
        wait_for_stage(machine, "running", BOOT_SECONDS)
        began = time.monotonic()
        wait_for_stage(machine, "idle", STORM_SECONDS)
        seconds = time.monotonic() - began
        found = status_of(machine.memory())
    finally:
        machine.stop()
    return [
        row("storm_swaps", found.swap_count, "swaps", swaps),
        row("storm_wrong", found.bench_result, "results", 0, "lower"),
        row("storm_swaps_per_s", found.swap_count / seconds, "swaps/s", None),
    ]
