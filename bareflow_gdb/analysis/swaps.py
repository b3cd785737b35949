"""When was each function swapped, as a trace tells it? The same records as `guest/swaps.py` gives."""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import Counters
from bareflow_gdb.guest.base.reading import filled
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
    chosen = trace.events(*TYPES)
    events = sorted(decode(chosen[chosen["ring"] == MAIN_RING]), key=lambda event: event.seq)
    return list_swaps(_tables(trace), events)


def _tables(trace: Trace) -> Tables:
    try:
        guest = Guest.attach(trace.memory(), trace.symbols)
        return read_tables(guest.memory, guest.root(), [])
    except BareflowError:
        # Of the functions nothing but their names was saved.
        nothing = layouts.unpack("bf_function", bytes(layouts.size("bf_function")))
        names = enumerate(trace.manifest.functions)
        functions = [
            filled(Function, nothing, index=index, name=name, provider="none", module=None) for index, name in names
        ]
        swaps = len(trace.events("publish"))
        return Tables(Counters(trace.manifest.tsc_hz, len(functions), 0, swaps, 0, 0), functions, [])
