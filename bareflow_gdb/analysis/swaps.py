"""When was each function swapped, as a trace tells it? The same records as `guest/swaps.py` gives."""

from __future__ import annotations

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import Counters
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.guest.code.functions import Function, Tables, read_tables
from bareflow_gdb.guest.code.swaps import Swaps, list_swaps
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

TYPES = ("threshold", "publish", "first_execution")
MAIN_RING = 0


def trace_swaps(trace: Trace) -> Swaps:
    """All swaps of a trace. Without a memory snapshot (recorder killed at once) the events alone tell them.

    Raises BadData when the trace is damaged.
    """
    return list_swaps(_tables(trace), _events(trace))


def _events(trace: Trace) -> list[Event]:
    """The events that tell of swaps, by sequence number."""
    chosen = trace.events(*TYPES)
    return sorted(decode(chosen[chosen["ring"] == MAIN_RING]), key=lambda event: event.seq)


def _tables(trace: Trace) -> Tables:
    try:
        guest = Guest.attach(trace.memory(), trace.symbols)
        return read_tables(guest.memory, guest.root(), [])
    except BareflowError:
        names = trace.manifest.functions
        counters = Counters(
            tsc_hz=trace.manifest.tsc_hz,
            function_count=len(names),
            version_count=0,
            swap_count=len(trace.events("publish")),
            irq_count=0,
            idle_loops=0,
        )
        return Tables(counters, [_named(index, name) for index, name in enumerate(names)], [])


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
