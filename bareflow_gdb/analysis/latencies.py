"""How long did each swap take: threshold, request, compile, emit, publish, first execution?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

PHASES = ("threshold", "request", "compile_begin", "compile_end", "emit", "publish", "first_execution")
STEPS = (
    ("threshold", "request"),
    ("request", "compile_begin"),
    ("compile_begin", "compile_end"),
    ("compile_end", "publish"),
    ("emit", "publish"),
    ("publish", "first_execution"),
    ("threshold", "first_execution"),
)
_INITIAL = layouts.const("BF_REASON_INITIAL")


@dataclass(frozen=True)
class SwapTimes:
    """One swap, and the TSC at which each phase of it was reached, as far as the trace tells."""

    function: str
    version: int
    level: int
    reached: Mapping[str, int]

    def between(self, start: str, end: str) -> int | None:
        """Ticks from one phase to another, None when one of them is not known."""
        told = start in self.reached and end in self.reached
        return self.reached[end] - self.reached[start] if told else None


@dataclass(frozen=True)
class PhaseSummary:
    """One step of the swaps of a trace, in TSC ticks."""

    start: str
    end: str
    count: int
    minimum: int
    median: float
    maximum: int


def swap_times(trace: Trace) -> list[SwapTimes]:
    """Every swap of the trace that replaced code, in the order of publication."""
    coming: dict[int, dict[str, int]] = {}
    found: list[SwapTimes] = []
    by_version: dict[int, dict[str, int]] = {}
    for event in decode(trace.events(*PHASES)):
        fields = event.fields()
        if event.type == "first_execution":
            by_version.get(fields["version"], {}).setdefault(event.type, event.tsc)
            continue
        phases = coming.setdefault(event.id, {})
        if event.type == "threshold":
            phases.clear()
        phases[event.type] = event.tsc
        if event.type == "publish":
            by_version[fields["version"]] = coming.pop(event.id)
            if fields["reason"] != _INITIAL:
                name = trace.function_name(event.id)
                found.append(SwapTimes(name, fields["version"], fields["level"], phases))
    return found


def summarise(times: Iterable[SwapTimes]) -> list[PhaseSummary]:
    """Each step, and the whole, over all swaps that tell it."""
    times = list(times)
    found = []
    for start, end in STEPS:
        ticks = [value for swap in times if (value := swap.between(start, end)) is not None]
        if ticks:
            found.append(PhaseSummary(start, end, len(ticks), min(ticks), statistics.median(ticks), max(ticks)))
    return found
