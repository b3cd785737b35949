"""When was each function swapped, as a trace tells it? The same records as `guest/swaps.py` gives inside gdb."""

from __future__ import annotations

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.events import Event
from bareflow_gdb.guest.functions import Function, Version
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.swaps import Swaps, list_swaps
from bareflow_gdb.guest.values import Address
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

TYPES = ("threshold", "publish", "first_execution")
MAIN_RING = 0


def trace_swaps(trace: Trace) -> Swaps:
    """All swaps of a trace. Without a memory snapshot (recorder killed at once) the events alone tell them.

    Raises BadData when the trace is damaged.
    """
    functions, versions, swap_count = _tables(trace)
    return list_swaps(
        functions,
        versions,
        trace_events(trace, *TYPES),
        _three(trace.manifest.thresholds),
        trace.manifest.tsc_hz,
        swap_count,
    )


def trace_events(trace: Trace, *types: str) -> list[Event]:
    """Events of the main ring by sequence number, as the decoders of floor 3 know them."""
    events = trace.events(*types)
    return sorted(decode(events[events["ring"] == MAIN_RING]), key=lambda event: event.seq)


def _tables(trace: Trace) -> tuple[tuple[Function, ...], tuple[Version, ...], int]:
    try:
        guest = Guest.attach(trace.memory(), trace.symbols)
        return guest.functions(), guest.versions(), guest.counters().swap_count
    except BareflowError:
        names = enumerate(trace.manifest.functions)
        published = len(trace.events("publish"))
        return tuple(_named(index, name) for index, name in names), (), published


def _named(index: int, name: str) -> Function:
    """A function of which nothing but the name was saved."""
    nowhere = Address(0)
    return Function(
        index=index,
        name=name,
        arguments=(0, 0),
        expected=0,
        last_result=0,
        provider="none",
        slot=nowhere,
        bitcode=nowhere,
        bitcode_size=0,
        symbols=nowhere,
        symbol_count=0,
        profiler_id=0,
        module=None,
        version=0,
        level=0,
        tsc_last_swap=0,
    )


def _three(thresholds: tuple[int, ...]) -> tuple[int, int, int]:
    first, second, third = (*thresholds, 0, 0, 0)[:3]
    return first, second, third
