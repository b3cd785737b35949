"""How does a trace become JSON lines, for jq, pandas and scripts? One event a line, names beside the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bareflow_gdb.analysis.exports.columns import nanoseconds
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.files import replacing
from bareflow_gdb.guest.code.events import Event, as_word
from bareflow_gdb.tracing import segments
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace


def export(trace: Trace, path: Path) -> int:
    """Writes the file; returns the number of events. Raises BadData, CannotWrite."""
    clock = trace_clock(trace)
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="ascii") as file:
        for part in trace.parts():
            events = segments.to_events(part)
            times = nanoseconds(clock, np.ascontiguousarray(events["tsc"])).tolist()
            for at, event in zip(times, decode(events), strict=True):
                file.write(json.dumps(_record(trace, at, event)) + "\n")
            count += len(events)
    return count


def _record(trace: Trace, at: int, event: Event) -> dict[str, Any]:
    source = trace.manifest.source(event.ring)
    head = {"ns": at, "tsc": event.tsc, "source": source.name if source else "", "ring": event.ring}
    head |= {"seq": event.seq, "cpu": event.cpu, "type": event.type}
    return {**head, **{name: _value(trace, name, value) for name, value in event.fields().items()}}


def _value(trace: Trace, name: str, value: int) -> int | str:
    known = as_word(name, value)
    if known is not None:
        return known
    if name == "function":
        return trace.function_name(value)
    modules = trace.manifest.modules
    return modules[value] if name == "module" and value < len(modules) else value
