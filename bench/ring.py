"""What does an event cost the guest, and how many per second does the reader take without losing one?

The guest measures the first itself (BF_SCENARIO_RING_COST); for the second it floods the ring while it
computes a linear congruential generator whose every state is in an event (BF_SCENARIO_RING_FLOOD), and each
record is checked here as it is taken.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.boot.wait import last_stage, wait_for_stage
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.tracing.events import Batch
from bareflow_gdb.tracing.ring import Rings
from bench.row import Row, row

FLOOD_SECONDS = 10.0
BOOT_SECONDS = 120.0
MULTIPLIER, INCREMENT = np.uint32(1664525), np.uint32(1013904223)

_MARK = layouts.const("BF_EVENT_MARK")


def measure(image: Path) -> list[Row]:
    """The rows ring_event_ns, ring_off_ns and lossless_events_per_s."""
    event, off = event_cost(image)
    return [
        row("ring_event_ns", event, "ns", 30, "lower"),
        row("ring_off_ns", off, "ns", 3, "lower"),
        row("lossless_events_per_s", lossless_rate(image), "events/s", 10_000_000),
    ]


def event_cost(image: Path) -> tuple[float, float]:
    """Nanoseconds that an event costs the guest when it is written, and when its type is masked off."""
    settings = RootSettings(scenario=layouts.const("BF_SCENARIO_RING_COST"))
    machine = launch(image, settings=settings)
    try:
        wait_for_stage(machine, "idle", BOOT_SECONDS)
        status = status_of(machine.memory())
    finally:
        machine.stop()
    if not status.tsc_hz or not status.bench_iterations:
        raise BareflowError("the guest measured nothing; its serial log says why")
    ns_per_turn = 1e9 / status.tsc_hz / status.bench_iterations
    on = (status.bench_on_tsc - status.bench_empty_tsc) * ns_per_turn
    off = (status.bench_off_tsc - status.bench_empty_tsc) * ns_per_turn
    return on, max(off, 0.0)


def lossless_rate(image: Path, seconds: float = FLOOD_SECONDS) -> float:
    """Events per second over `seconds`, none lost and every one checked; raises BareflowError otherwise."""
    settings = RootSettings(scenario=layouts.const("BF_SCENARIO_RING_FLOOD"), hold=1)
    machine = launch(image, settings=settings)
    try:
        wait_for_stage(machine, "registered", BOOT_SECONDS)
        ram = machine.memory()
        root = find_root(ram).root
        check = FloodCheck()
        with Rings(ram, [address for address in root.rings if address]) as rings:
            _set(ram, root.address, "hold", 0)
            while not check.events:
                for batch in rings.drain():
                    check.take(batch)
            began, before = time.monotonic(), check.events
            while (elapsed := time.monotonic() - began) < seconds:
                for batch in rings.drain():
                    check.take(batch)
            rate = (check.events - before) / elapsed
            _set(ram, root.address, "scenario_stop", 1)
            while last_stage(machine) < layouts.const("BF_STAGE_IDLE"):
                for batch in rings.drain():
                    check.take(batch)
            rings.drain_all(check.take)
            lost = sum(count.lost for count in rings.counts())
        check.finish(status_of(ram), lost)
        return rate
    finally:
        machine.stop()


class FloodCheck:
    """Proves that the events taken are exactly those that the guest emitted, each whole and in its place."""

    def __init__(self) -> None:
        self.events = 0
        self._state = np.uint32(0)

    def take(self, batch: Batch) -> None:
        """Checks number and generator state of each MARK; raises BareflowError at the first wrong one."""
        marks = batch.events[batch.events["type"] == _MARK]
        if not len(marks):
            return
        number, state = marks["arg"][:, 0], marks["arg"][:, 1]
        expected = np.arange(self.events, self.events + len(marks), dtype=np.uint64).astype(np.uint32)
        before = np.concatenate((np.array([self._state], np.uint32), state[:-1]))
        if not np.array_equal(number, expected) or not np.array_equal(state, before * MULTIPLIER + INCREMENT):
            raise BareflowError(f"an event near number {self.events} is not the one that the guest wrote")
        self.events += len(marks)
        self._state = state[-1]

    def finish(self, status: Any, lost: int) -> None:
        """Compares with what the guest says at its end."""
        if lost:
            raise BareflowError(f"{lost} of {self.events + lost} events were lost; is the host overloaded?")
        if status.bench_emitted != self.events & 0xFFFFFFFF or status.bench_result != int(self._state):
            raise BareflowError(f"the guest emitted {status.bench_emitted} events, {self.events} were taken")


def status_of(ram: QemuRam) -> Any:
    root = find_root(ram).root
    return layouts.unpack("bf_status", ram.read(root.status, layouts.size("bf_status"), "status record"))


def _set(ram: QemuRam, root: int, word: str, value: int) -> None:
    ram.write(root + layouts.offset("bf_root", word), value.to_bytes(4, "little"), f"{word} of the root")
