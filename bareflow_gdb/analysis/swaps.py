"""When was each function swapped, as a trace or a serial log tells it? In the records of guest/code/swaps.py."""

from __future__ import annotations

from dataclasses import replace

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.seen_swaps import seen_swaps
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import Counters
from bareflow_gdb.guest.base.reading import filled, optional
from bareflow_gdb.guest.base.values import NOWHERE
from bareflow_gdb.guest.code.costs import NOT_MEASURED, Costs, read_costs
from bareflow_gdb.guest.code.functions import Function, Tables, read_tables
from bareflow_gdb.guest.code.swaps import Swap, Swaps, list_swaps
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.swaps import parse_log
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

TYPES = ("threshold", "publish", "first_execution")
MAIN_RING = 0


def trace_swaps(trace: Trace) -> Swaps:
    """All swaps of a trace. Without a memory snapshot (recorder killed at once) the events alone tell them.

    Raises BadData when the trace is damaged.
    """
    tables, costs, no_worth = last_tables(trace)
    if trace.manifest.seen_from_outside:
        # A stock kernel has no such tables, so that none are missed.
        return seen_swaps(trace, tables, costs, no_worth if trace.manifest.abi else NOT_MEASURED)
    chosen = trace.events(*TYPES)
    events = sorted(decode(chosen[chosen["ring"] == MAIN_RING]), key=lambda event: event.seq)
    if tables is not None:
        return list_swaps(tables, events, costs, no_worth)
    told = list_swaps(_names_only(trace), events, None, no_worth)
    return replace(told, swap_count=len(told.swaps), forgotten=None, counted_by="events")


def logged_swaps(log: str) -> Swaps:
    """The swaps of a log's last run: functions, tiers and calls; where the code is and when it was, it does not say."""
    indices: dict[str, int] = {}
    swaps = tuple(
        Swap(
            function=said.function,
            index=indices.setdefault(said.function, len(indices)),
            from_level=said.from_level,
            to_level=said.to_level,
            reason="none" if said.call is None else "threshold",
            call=said.call,
            old_code=NOWHERE,
            new_code=NOWHERE,
            code_size=0,
            same_code=False,
        )
        for said in parse_log(log)
    )
    return Swaps(swaps, len(swaps), tsc_hz=0, forgotten=None, counted_by="log")


def last_tables(trace: Trace) -> tuple[Tables | None, Costs | None, str]:
    """The tables of the memory that was saved, and what calls took, or why that is not known; None where none was."""
    try:
        guest = Guest.attach(trace.memory(), trace.symbols)
        tables = read_tables(guest.memory, guest.root(), [])
    except BareflowError as error:
        return None, None, f"the tables of the last moment cannot be read: {error}"
    no_worth: list[str] = []
    costs = optional(lambda: read_costs(guest.memory, guest.root(), tables), no_worth)
    return tables, costs, "".join(no_worth[:1])


def _names_only(trace: Trace) -> Tables:
    """Of the functions nothing but their names was saved."""
    nothing = layouts.unpack("bf_function", bytes(layouts.size("bf_function")))
    names = enumerate(trace.manifest.functions)
    functions = [
        filled(Function, nothing, index=index, name=name, provider="none", module=None) for index, name in names
    ]
    return Tables(Counters(trace.manifest.tsc_hz, len(functions), 0, 0, 0, 0), functions, [])
