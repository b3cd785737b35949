"""What changed from one run, or build, to another: tiers, what calls cost, code, boot, how long swaps took?

Times of two runs differ always. What calls and swaps took is compared as worth.py compares two versions, with intervals
and the host's noise. Of a boot there is one sample: large differences are shown, and judged only where a clock of
instructions makes them exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.analysis.latencies import STEPS, swap_times
from bareflow_gdb.analysis.swaps import last_tables, trace_swaps
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.code.costs import VersionCost
from bareflow_gdb.guest.code.worth import FASTER, SLOWER, Worth, judge
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.manifest import HOST
from bareflow_gdb.tracing.store import Trace

SAME_RATE = 0.1
"""Clocks whose rates differ by more count other cycles."""
ONE_SAMPLE = 0.5
"""What was measured once is worth showing when it differs by more than this part of it."""
SAME, APART, CHANGED = "same", "apart", "changed"
_MOST_SAMPLES = 256

Place = tuple[str, int]
"""A function's name, and a tier."""


@dataclass(frozen=True)
class Run:
    """One of the two."""

    trace: str
    variant: str
    build_id: str
    clock: str
    tsc_hz: int
    thresholds: tuple[int, ...]
    lost: int
    filter: tuple[str, ...]
    """What was kept of its events, in words; none = all."""


@dataclass(frozen=True)
class Tiers:
    """How far a function came: the tier, and at which call it came to each, None where no threshold asked."""

    function: str
    before: int | None
    after: int | None
    """None = the run has no such function, or it was not swapped."""
    calls_before: tuple[int | None, ...]
    calls_after: tuple[int | None, ...]

    @property
    def changed(self) -> bool:
        """Another tier, or at another call."""
        return (self.before, self.calls_before) != (self.after, self.calls_after)


@dataclass(frozen=True)
class Code:
    """A function's code at a tier: bytes, None where it was not saved."""

    function: str
    level: int
    before: int | None
    after: int | None
    equal: bool

    @property
    def changed(self) -> bool:
        """Other code; what is there in one run only is told by the tiers."""
        return self.before is not None and self.after is not None and not self.equal


@dataclass(frozen=True)
class Measured:
    """What took how long, in TSC ticks; `worth` compares the first run with the second."""

    what: str
    worth: Worth

    @property
    def changed(self) -> bool:
        """More than noise explains."""
        return self.worth.verdict in (FASTER, SLOWER)


@dataclass(frozen=True)
class Stage:
    """How long a stage of the boot took, in TSC ticks; None where it was not reached or not left."""

    name: str
    before: int | None
    after: int | None
    verdict: str
    """SAME; APART: far from one another, which the host may have done; CHANGED."""

    @property
    def changed(self) -> bool:
        """Whatever the host did."""
        return self.verdict == CHANGED


@dataclass(frozen=True)
class TraceDiff:
    """All of it."""

    before: Run
    after: Run
    notes: tuple[str, ...]
    """What could not be compared."""
    tiers: tuple[Tiers, ...]
    costs: tuple[Measured, ...]
    code: tuple[Code, ...]
    swaps: tuple[Measured, ...]
    boot: tuple[Stage, ...]

    @property
    def changed(self) -> bool:
        """Is there anything that noise does not explain?"""
        return any(one.changed for part in (self.tiers, self.costs, self.code, self.swaps, self.boot) for one in part)


def compare(before: Trace, after: Trace) -> TraceDiff:
    """Raises BadData when the events of one cannot be read."""
    notes: list[str] = []
    runs = _run(before), _run(after)
    if runs[0].filter != runs[1].filter:
        kept = [", ".join(run.filter) or "everything" for run in runs]
        notes.append(f"the filters differ: of one trace {kept[0]} was kept, of the other {kept[1]}")
    timed = _same_clock(*runs, notes)
    return TraceDiff(
        *runs,
        tiers=tuple(_tiers(before, after)),
        costs=tuple(_costs(before, after, notes)) if timed else (),
        code=tuple(_code(before, after)),
        swaps=tuple(_swaps(before, after)) if timed else (),
        boot=tuple(_boot(before, after, notes)) if timed else (),
        notes=tuple(dict.fromkeys(notes)),
    )


def _run(trace: Trace) -> Run:
    told = trace.manifest
    return filled(Run, told, trace=str(trace.directory), lost=trace.lost)


def _same_clock(before: Run, after: Run, notes: list[str]) -> bool:
    if before.clock != after.clock:
        notes.append(f"times are not compared: one clock is {before.clock}, the other {after.clock}")
        return False
    if before.clock == HOST:
        notes.append("times are not compared: both traces were seen from outside, by the host's clock")
        return False
    rates = before.tsc_hz, after.tsc_hz
    if before.clock != "icount" and max(rates) - min(rates) > SAME_RATE * max(rates):
        notes.append(f"times are not compared: the clocks count {rates[0]:,} and {rates[1]:,} ticks a second")
        return False
    return True


def _tiers(before: Trace, after: Trace) -> list[Tiers]:
    sides = _calls(before), _calls(after)
    found = []
    for function in dict.fromkeys((*before.manifest.functions, *after.manifest.functions)):
        calls = [side.get(function, {}) for side in sides]
        one, other = (max(side, default=None) for side in calls)
        if one is not None or other is not None:
            came = [tuple(side[level] for level in sorted(side)) for side in calls]
            found.append(Tiers(function, one, other, came[0], came[1]))
    return found


def _calls(trace: Trace) -> dict[str, dict[int, int | None]]:
    """By function and tier: at which call it first came there."""
    found: dict[str, dict[int, int | None]] = {}
    for swap in trace_swaps(trace).swaps:
        found.setdefault(swap.function, {}).setdefault(swap.to_level, swap.call)
    return found


def _costs(before: Trace, after: Trace, notes: list[str]) -> list[Measured]:
    sides = _measured(before, notes), _measured(after, notes)
    places = [place for place in sides[0] if place in sides[1]]
    return [Measured(f"{place[0]} O{place[1]}", judge(sides[0][place], sides[1][place], None)) for place in places]


def _measured(trace: Trace, notes: list[str]) -> dict[Place, VersionCost]:
    """What calls took, of the newest version of each tier that was measured."""
    tables, costs, why = last_tables(trace)
    if tables is None or costs is None:
        notes.append(f"calls of {trace.directory} are not compared: {why}")
        return {}
    return {
        (version.function_name, version.level): costs[version.number]
        for version in tables.versions
        if version.number in costs and costs[version.number].cycles
    }


def _code(before: Trace, after: Trace) -> list[Code]:
    sides = _saved(before), _saved(after)
    found = []
    for place in dict.fromkeys((*sides[0], *sides[1])):
        one, other = (side.get(place) for side in sides)
        equal = one is not None and other is not None and one.sha256 == other.sha256
        found.append(Code(*place, one.size if one else None, other.size if other else None, equal))
    return found


def _saved(trace: Trace) -> dict[Place, SavedCode]:
    """The newest code of each tier."""
    saved = sorted((code for code in trace.codes.values() if code.sha256), key=lambda code: code.version)
    return {(trace.function_name(code.function), code.level): code for code in saved if code.level is not None}


def _swaps(before: Trace, after: Trace) -> list[Measured]:
    sides = swap_times(before), swap_times(after)
    found = []
    for start, end in STEPS:
        ticks = [
            tuple(value for swap in side if (value := swap.between(start, end)) is not None)[:_MOST_SAMPLES]
            for side in sides
        ]
        if all(ticks):
            one, other = (VersionCost(None, 1, samples) for samples in ticks)
            found.append(Measured(f"{start} to {end}", judge(one, other, None)))
    return found


def _boot(before: Trace, after: Trace, notes: list[str]) -> list[Stage]:
    sides = _stages(before, notes), _stages(after, notes)
    exact = before.manifest.clock == "icount"
    found = []
    for name in dict.fromkeys((*sides[0], *sides[1])):
        one, other = (side.get(name) for side in sides)
        if one is None or other is None:
            found.append(Stage(name, one, other, CHANGED if sides[0] and sides[1] else SAME))
        elif exact:
            found.append(Stage(name, one, other, SAME if one == other else CHANGED))
        else:
            apart = abs(one - other) > ONE_SAMPLE * max(one, other)
            found.append(Stage(name, one, other, APART if apart else SAME))
    return found


def _stages(trace: Trace, notes: list[str]) -> dict[str, int]:
    """Ticks from when a stage was reached to when the next one was."""
    try:
        boot = of_trace(trace).kernel().boot()
    except BareflowError as error:
        notes.append(f"the boot of {trace.directory} is not compared: {error}")
        return {}
    reached = [stage for stage in boot.stages if stage.reached and stage.tsc]
    return {one.name: max(0, after.tsc - one.tsc) for one, after in pairwise(reached)}
