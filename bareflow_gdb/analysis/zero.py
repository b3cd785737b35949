"""From which moment do the times of a trace or a guest count? One zero for the report and for every export."""

from __future__ import annotations

from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.analysis.overview import Overview, overview
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.tracing.store import Trace


def clock_of(view: Overview | None, boot: Boot | None, swaps: Swaps | None) -> Clock:
    """The clock, as far as these tell: `view` is that of a trace."""
    hz = view.tsc_hz if view else swaps.tsc_hz if swaps else 0
    moments = [swap.tsc for swap in swaps.swaps if swap.tsc] if swaps else []
    if view is not None and view.events:
        moments += (view.first_tsc, view.last_tsc)
    if view is not None and view.seen_from_outside:
        # The boot record is of another clock.
        boot = None
    stages = [stage.tsc for stage in boot.stages if stage.reached and stage.tsc] if boot else []
    counts = view is not None and view.counts_instructions
    if stages and stages[0] <= min(moments, default=stages[0]):
        return Clock(hz, counts, stages[0], "stage 1 of the boot loader", max(stages + moments))
    if view is not None and moments:
        return Clock(hz, counts, min(moments), "the first event", max(moments))
    return Clock(hz, counts, min(moments), "the first swap", max(moments)) if moments else Clock(hz, counts)


def trace_clock(trace: Trace) -> Clock:
    """The clock of a trace's report. Raises BadData when its events cannot be read."""
    swaps = trace_swaps(trace)
    try:
        boot = of_trace(trace).kernel().boot()
    except BareflowError:
        boot = None
    return clock_of(overview(trace, swaps), boot, swaps)
