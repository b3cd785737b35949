"""How much slower is a guest that is watched? The demo's run with its flight recorder, with every call recorded, with
all checks looking at it again and again, beside the same run without any of that, in turn.

The least of several runs counts: what the host does meanwhile only ever adds time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.boot.wait import last_stage, release, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.ring import MODE_OFF
from bench.row import Row, row

ROUNDS = 5
BOOT_SECONDS = 120.0
RUN_SECONDS = 300.0
CALLS = 3000
"""Of each function."""
LOOKS_APART = 0.25
"""Seconds between two looks of all checks, as `bareflow top` has them."""
# A process of its own, on the other processor: it reads the guest's RAM, and never stops it.
LOOKING = f"""
import sys, time
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine
machine = Machine.find(sys.argv[1])
while True:
    registry.run(Subject(Guest.attach(machine.memory()).kernel, machine=machine, serial=machine.serial))
    print("looked", flush=True)
    time.sleep({LOOKS_APART})
"""


def measure(image: Path, rounds: int = ROUNDS, calls: int = CALLS) -> list[Row]:
    """The rows flight_slowdown, calls_slowdown and checks_slowdown, in percent."""
    watched: dict[str, Callable[[Machine], None]] = {
        "none": _ring_off,
        "flight": lambda _: None,
        "calls": _every_call,
        "checks": lambda _: None,
    }
    least = dict.fromkeys(watched, RUN_SECONDS)
    for _ in range(rounds):
        for name, prepare in watched.items():
            least[name] = min(least[name], _seconds(image, calls, prepare, looked_at=name == "checks"))
    return [
        row(
            "flight_slowdown",
            _percent(least["flight"], least["none"]),
            "%",
            3,
            "lower",
            "the run without (s)",
            least["none"],
        ),
        row("calls_slowdown", _percent(least["calls"], least["none"]), "%", None, "lower"),
        row("checks_slowdown", _percent(least["checks"], least["flight"]), "%", 5, "lower"),
    ]


def _percent(with_it: float, without: float) -> float:
    return 100 * (with_it / without - 1)


def _seconds(image: Path, calls: int, prepare: Callable[[Machine], None], *, looked_at: bool) -> float:
    machine = launch(image, settings=RootSettings(hold=1, run_calls=calls, call_sample=1))
    try:
        wait_for_stage(machine, "registered", BOOT_SECONDS)
        prepare(machine)
        with _looked_at(machine) if looked_at else _alone():
            began = time.monotonic()
            release(machine)
            while last_stage(machine) < layouts.const("BF_STAGE_IDLE"):
                if time.monotonic() - began > RUN_SECONDS:
                    raise BareflowError(f"the run took longer than {RUN_SECONDS:g} s; is the host overloaded?")
                time.sleep(0.001)
            return time.monotonic() - began
    finally:
        machine.stop()


@contextmanager
def _alone() -> Iterator[None]:
    yield


@contextmanager
def _looked_at(machine: Machine) -> Iterator[None]:
    words = [sys.executable, "-c", LOOKING, machine.name]
    looking = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert looking.stdout is not None
    try:
        # The first look loads everything. A pipe holds the lines of some hours.
        looking.stdout.readline()
        yield
        if looking.poll() is not None:
            raise BareflowError("the checks ended while the guest ran; `bareflow checks` says why")
    finally:
        looking.kill()
        looking.wait()
        looking.stdout.close()


def _ring_off(machine: Machine) -> None:
    _set(machine, "mode", MODE_OFF)


def _every_call(machine: Machine) -> None:
    _set(machine, "type_mask", layouts.const("BF_EVENT_DEFAULT_MASK") | 1 << BY_NAME["call"].number)


def _set(machine: Machine, word: str, value: int) -> None:
    memory = machine.memory()
    for ring in filter(None, find_root(memory).root.rings):
        memory.write(ring + layouts.offset("bf_ring_header", word), value.to_bytes(4, "little"), f"{word} of a ring")
