"""What does a trace hold, in a few lines?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bareflow_gdb.abi.events import event_type
from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.tracing.manifest import Source
from bareflow_gdb.tracing.store import Trace


@dataclass(frozen=True)
class Overview:
    """The figures that `bareflow trace show` prints."""

    machine: str
    variant: str
    build_id: str
    clock: str
    counts_instructions: bool
    """The clock is QEMU's -icount."""
    tsc_hz: int
    complete: bool
    ended: str
    started: str
    seconds: float
    events: int
    lost: int
    missed: int
    """Swaps that the guest's tables count and no event shows."""
    first_tsc: int
    last_tsc: int
    functions: tuple[str, ...]
    modules: tuple[str, ...]
    thresholds: tuple[int, ...]
    swaps: int
    versions: int
    code_saved: int
    code_left_out: int
    """Versions whose code is not there because of the recorder's limits."""
    types: tuple[tuple[str, int], ...]
    """Event type and number of events, the most frequent first."""
    sources: tuple[Source, ...]
    seen_from_outside: bool
    """Times are the host's, and not of the clock that the guest's memory tells."""
    only: tuple[str, ...]
    """Types that were asked for while it was recorded; none = those that the guest writes anyhow."""
    filter: tuple[str, ...]
    """What was kept of the events, in words; none = all."""
    left_out: int
    """Events that were not kept."""
    unmet: tuple[str, ...]
    """What the filter asked for and did not come, in sentences."""

    def duration(self, ticks: int) -> str:
        """TSC ticks in words."""
        return Clock(self.tsc_hz, self.counts_instructions).duration(ticks)

    @property
    def span(self) -> str:
        """Time from the first to the last event."""
        return self.duration(self.last_tsc - self.first_tsc)


def overview(trace: Trace, swaps: Swaps) -> Overview:
    """`swaps`: those of the trace. Raises BadData when the trace is damaged."""
    manifest = trace.manifest
    first, last = _span(trace)
    types = type_counts(trace)
    return filled(
        Overview,
        manifest,
        clock=clock_name(trace),
        counts_instructions=manifest.clock == "icount",
        events=sum(count for _, count in types),
        lost=trace.lost,
        missed=manifest.missed,
        left_out=manifest.left_out,
        seen_from_outside=manifest.seen_from_outside,
        first_tsc=first,
        last_tsc=last,
        swaps=len(swaps.swaps),
        versions=len(trace.codes),
        code_saved=sum(1 for code in trace.codes.values() if code.sha256),
        code_left_out=trace.code_left_out,
        types=types,
    )


def type_counts(trace: Trace) -> tuple[tuple[str, int], ...]:
    """Event types and how many there are of each, the most frequent first."""
    counts = np.zeros(256, np.int64)
    for part in trace.parts("type"):
        counts += np.bincount(part.column("type").to_numpy(), minlength=256)
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda number: (-int(counts[number]), number))
    return tuple((event_type(number).name, int(counts[number])) for number in order)


def _span(trace: Trace) -> tuple[int, int]:
    """The TSC of the first and of the last event, 0 when there is none."""
    ends = [(tsc[0].as_py(), tsc[-1].as_py()) for part in trace.parts("tsc") if len(tsc := part.column("tsc"))]
    return min((first for first, _ in ends), default=0), max((last for _, last in ends), default=0)


def clock_name(trace: Trace) -> str:
    """The clock in words; every report names it."""
    if trace.manifest.seen_from_outside:
        return "the host's, in ns: when the recorder saw it, which the guest's own clock does not tell"
    if trace.manifest.clock == "icount":
        return "instructions (QEMU -icount): exact, equal between runs"
    rate = f"{trace.manifest.tsc_hz / 1e6:,.0f} MHz" if trace.manifest.tsc_hz else "of unmeasured rate"
    return f"TSC {rate} under emulation: host time, with the host's noise"
