"""What does a kernel's every module cost? Measured by the guest itself, in instructions or in cycles.

Instructions: QEMU's -icount, under which the time stamp counter counts them; two runs of one kernel are equal. The
least call is taken: no interrupt was served in it. Cycles are those of the host's clock; to compare them see
`interleaved`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.exports import read_symbols
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.code.functions import function_table
from bareflow_gdb.pgo import profile
from bareflow_gdb.pgo.entries import read_arguments
from bareflow_gdb.pgo.instrumented import Instrumented, read_counts
from bareflow_gdb.pgo.profile import Counted, Profile
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

CALLS = 20
"""Of each module, in a run that counts instructions."""
CYCLE_CALLS = 200
SECONDS = 240.0
_TAKEN = re.compile(r"^\[CACHE\] (?:Replaced embedded|Added) module '([^']+)'", re.MULTILINE)
NEVER = (1 << 30, (1 << 30) + 1, (1 << 30) + 2)
"""Thresholds: what was built is what runs."""


@dataclass(frozen=True)
class Run:
    """One boot of one kernel."""

    modules: Profile
    """By the modules' own tests."""
    functions: Profile
    """By the run: `CALLS` of each."""
    log: str
    """All that COM1 printed."""

    def per_call(self, names: Iterable[str]) -> dict[str, int]:
        """The least call of each of these. Raises BadData."""
        found = {cost.name: cost.least for cost in self.functions.costs}
        missing = [name for name in names if name not in found]
        if missing:
            raise BadData(f"the guest measured no {', '.join(missing)}; look at its log with `bareflow log`")
        return {name: found[name] for name in names}


@dataclass(frozen=True)
class Span:
    """What a call costs: the median of so many samples, and between which it lies, with worth.CONFIDENCE."""

    median: float
    low: int
    high: int
    samples: int

    def better_than(self, other: Span, by: float = 0.0) -> bool:
        """Is it, for certain, cheaper by more than this share?"""
        return self.high < other.low * (1 - by)


def count(image: Path) -> Run:
    """Instructions. Raises BareflowError, also when a module's result is wrong."""
    with _ran(image, CALLS, icount=0) as machine:
        return _read(machine, profile.INSTRUCTIONS)


def time(image: Path, calls: int = CYCLE_CALLS) -> Run:
    """Cycles of the host's clock."""
    with _ran(image, calls) as machine:
        return _read(machine, profile.CYCLES)


def profile_of(image: Path, of: str, *, cycles: bool = False) -> Profile:
    """A kernel's own profile. Raises BareflowError."""
    run = time(image) if cycles else count(image)
    return run.modules if of == profile.MODULES else run.functions


def counts(
    image: Path, built: Mapping[str, Instrumented], *, arguments: bool = False
) -> tuple[dict[str, Counted], Run]:
    """What the modules of a kernel that counts have counted, and what that run cost. Raises BareflowError."""
    with _ran(image, CALLS, icount=0) as machine:
        memory = machine.memory()
        found = {}
        for function in function_table(memory, find_root(memory).root):
            if function.name in built:
                at, many = function.symbols, function.symbol_count
                symbols = read_symbols(memory, at, many, f"symbols of {function.name}", [])
                named = {symbol.name: symbol for symbol in symbols}
                blocks = read_counts(memory, named, built[function.name].counters, function.name)
                seen = read_arguments(memory, named, function.name) if arguments else None
                found[function.name] = Counted(blocks, seen)
        return found, _read(machine, profile.INSTRUCTIONS)


def taken_from_cache(log: str) -> tuple[str, ...]:
    """The modules whose code a booting kernel took from its cache."""
    return tuple(_TAKEN.findall(log))


def geometric_mean(factors: Iterable[float]) -> float:
    """Of factors; 1 for none."""
    logs = [math.log(factor) for factor in factors]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


@contextmanager
def _ran(image: Path, calls: int, icount: int | None = None) -> Iterator[Machine]:
    """A machine whose run is over, every function as it was built."""
    with booted(image, RootSettings(thresholds=NEVER, run_calls=calls), "idle", icount) as machine:
        check_results(machine)
        yield machine


@contextmanager
def booted(image: Path, settings: RootSettings, stage: str, icount: int | None = None) -> Iterator[Machine]:
    """A machine of our own that has come to a boot stage; it goes at the end. Raises BareflowError."""
    with TemporaryDirectory(prefix="bfp-") as folder:
        machine = launch(
            image,
            name=f"pgo-{os.getpid()}",
            directory=Path(folder) / "vm",
            icount=icount,
            settings=settings,
            with_disk=False,
        )
        try:
            wait_for_stage(machine, stage, SECONDS)
            yield machine
        finally:
            machine.stop()


def check_results(machine: Machine) -> None:
    """Raises BareflowError when a function's last result was wrong."""
    memory = machine.memory()
    for function in function_table(memory, find_root(memory).root):
        if function.last_result != function.expected:
            raise BareflowError(
                f"module {function.name} returned {function.last_result}, {function.expected} is right; "
                "leave it out of the plan, and look at its code with `bareflow disas`"
            )


def _read(machine: Machine, unit: str) -> Run:
    # What was printed last may still be on its way to the file: the run's export comes before the idle loop.
    log = machine.serial()
    modules, functions = (profile.of_log(log, of, "COM1") for of in (profile.MODULES, profile.FUNCTIONS))
    if {cost.name for cost in functions.costs} - {cost.name for cost in modules.costs}:
        raise BadData("the guest's two profiles name other modules; boot it again")
    return Run(replace(modules, unit=unit), replace(functions, unit=unit), log)
