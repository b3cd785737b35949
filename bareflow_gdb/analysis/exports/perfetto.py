"""How does a trace become a Perfetto trace, for https://ui.perfetto.dev and trace_processor?

A file of `TracePacket`s (protos/perfetto/trace/trace_packet.proto and track_event/track_event.proto). Tracks: one per
CPU with boot stages and module calls, one per function with its compiles, one with its tiers, one per pool with a
counter of its bytes. The events of a swap are one flow. Packets are not in the order of time; readers put them so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bareflow_gdb.abi.events import ADDRESSES, BY_NAME, SIGNED, EventType, event_type
from bareflow_gdb.analysis.exports.columns import Column, Columns, fields, nanoseconds
from bareflow_gdb.analysis.exports.flows import Flows
from bareflow_gdb.analysis.exports.perfetto_names import (
    NEEDS_INTERNED,
    PACKET,
    SEQUENCE,
    SEQUENCE_FLAGS,
    SEQUENCE_ID,
    Names,
)
from bareflow_gdb.analysis.exports.protobuf import BITS_32, BITS_63, BITS_64, Shape, column, fixed64, message, number
from bareflow_gdb.analysis.latencies import PHASES
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.files import replacing
from bareflow_gdb.tracing.segments import ARGUMENTS
from bareflow_gdb.tracing.store import Trace

_TIMESTAMP, _EVENT = 8, 11
_ANNOTATION, _TYPE, _NAME, _TRACK, _COUNTER_VALUE, _FLOW = 4, 9, 10, 11, 30, 47
_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4
_NAME_IID, _UINT, _INT, _POINTER, _STRING_IID = 1, 3, 4, 7, 17
_LONG = ("calls", "cycles")
"""Arguments of 64 bits."""
_STRETCHES = {"boot": "stage", "compile_begin": "compile", "module_call": "module"}
"""Types that begin something that lasts, and what it is called by."""
_COLUMNS = ("tsc", "type", "cpu", "id", *ARGUMENTS)
_ALLOC, _FREE, _SHRINK = (BY_NAME[name].number for name in ("pool_alloc", "pool_free", "pool_shrink"))
_NEW_TIER = ("jit_register", "publish")


def export(trace: Trace, path: Path) -> int:
    """Writes the file; returns the number of events. Raises BadData, CannotWrite; of what was begun nothing stays."""
    packets = _Packets(trace)
    count = 0
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(packets.names.beginning())
        for part in trace.parts():
            file.writelines(packets.of(part))
            count += part.num_rows
    return count


class _Packets:
    """Makes packets of events that come in the order of time."""

    def __init__(self, trace: Trace) -> None:
        self.names = Names(trace)
        self._clock = trace_clock(trace)
        self._flows = Flows()
        self._in_use: dict[int, int] = {}
        """Bytes of each pool since the trace began."""

    def of(self, part: Any) -> Iterator[memoryview | bytes]:
        """Those of a piece of the trace, type by type."""
        events: dict[str, Column] = {name: part.column(name).to_numpy() for name in _COLUMNS}
        flows, ends = self._flows.follow(events)
        events |= {"flow": flows, "ends": ends, "time": nanoseconds(self._clock, events["tsc"])}
        order = np.argsort(events["type"], kind="stable")
        numbers, firsts = np.unique(events["type"][order], return_index=True)
        for type_number, places in zip(numbers.tolist(), np.split(order, firsts[1:]), strict=True):
            kind = event_type(type_number)
            columns = {name: values[places] for name, values in events.items()}
            yield from self._of_type(kind, fields(kind, columns), columns)
        # Of all three types together: what was freed may be allocated anew.
        places = np.flatnonzero(np.isin(events["type"], (_ALLOC, _FREE, _SHRINK)))
        yield from self._counters({name: values[places] for name, values in events.items()})

    def _of_type(self, kind: EventType, told: Columns, columns: dict[str, Column]) -> Iterator[memoryview | bytes]:
        track = kind.id if kind.id in ("function", "pool") else "cpu"
        columns["track"], described = self.names.tracks(track, columns["cpu" if track == "cpu" else "id"])
        yield described
        # What goes on ends before the next begins: readers keep the order of equal times.
        if kind.name not in _NEW_TIER:
            yield _packets(_END, _only(columns, columns["ends"] > 0))
        begins = _STRETCHES.get(kind.name)
        if begins is not None:
            called = told["level"] if begins == "compile" else columns["id"]
            columns["name"] = self.names.of_events(begins, called)
        else:
            numbers = np.full(len(columns["id"]), kind.number, np.uint32)
            columns["name"] = self.names.of_events("type", numbers)
        began = columns
        if kind.name == "module_call":
            start = columns["tsc"] - np.minimum(columns["tsc"], told["cycles"])
            began = {**columns, "time": nanoseconds(self._clock, start)}
        if kind.name != "compile_end":
            yield self._told(kind, _INSTANT if begins is None else _BEGIN, told, began)
        if kind.name == "module_call":
            yield _packets(_END, columns)
        if kind.name in _NEW_TIER:
            yield from self._tiers(told.get("level", np.zeros_like(columns["id"])), columns)

    def _told(self, kind: EventType, how: int, told: Columns, columns: Columns) -> memoryview:
        """Events with their names, their swap and all that they say."""
        named = [column(_NAME, "name", BITS_32)]
        if kind.name in PHASES:
            named.append(fixed64(_FLOW, "flow"))
        if kind.id not in ("function", "pool", ""):
            told = {kind.id: columns["id"], **told}
        for name, values in told.items():
            columns = {**columns, f"argument {name}": values}
            numbers = self.names.of_values(name, values)
            if numbers is not None:
                columns[f"argument {name}"] = numbers
                value = column(_STRING_IID, f"argument {name}", BITS_32)
            elif name in SIGNED:
                value = column(_INT, f"argument {name}", BITS_64)
            else:
                width = BITS_64 if name in _LONG else BITS_32
                value = column(_POINTER if name in ADDRESSES else _UINT, f"argument {name}", width)
            named.append(message(_ANNOTATION, number(_NAME_IID, self.names.argument(name)), value))
        return _packets(how, columns, *named)

    def _tiers(self, levels: Column, columns: dict[str, Column]) -> Iterator[memoryview | bytes]:
        """The tier that ends when a function is registered, in O0, or published, and the one that begins."""
        columns["track"], described = self.names.tracks("tier", columns["id"])
        yield described
        yield _packets(_END, _only(columns, columns["ends"] > 0))
        columns["name"] = self.names.of_events("tier", levels)
        yield _packets(_BEGIN, columns, column(_NAME, "name", BITS_32))

    def _counters(self, columns: dict[str, Column]) -> Iterator[memoryview | bytes]:
        """What a pool has in use after each event."""
        told = fields(event_type(_SHRINK), columns)
        sizes, before = (told[name].astype(np.int64) for name in ("size", "before"))
        types = columns["type"]
        changes = np.where(types == _ALLOC, sizes, np.where(types == _FREE, -sizes, sizes - before))
        columns["track"], described = self.names.tracks("bytes", columns["id"])
        yield described
        columns["value"] = np.zeros(len(changes), np.uint64)
        for pool in np.unique(columns["id"]).tolist():
            chosen = columns["id"] == pool
            in_use = self._in_use.get(pool, 0) + np.cumsum(changes[chosen])
            columns["value"][chosen] = in_use.view(np.uint64)
            self._in_use[pool] = int(in_use[-1])
        yield _packets(_COUNTER, columns, column(_COUNTER_VALUE, "value", BITS_64))


def _packets(how: int, columns: Columns, *parts: Shape) -> memoryview:
    """One for each event in the columns `time` and `track`."""
    event = message(_EVENT, number(_TYPE, how), column(_TRACK, "track", BITS_32), *parts)
    head = (number(SEQUENCE, SEQUENCE_ID), number(SEQUENCE_FLAGS, NEEDS_INTERNED))
    shape = message(PACKET, column(_TIMESTAMP, "time", BITS_63), *head, event)
    return shape.fill(len(columns["time"]), columns)


def _only(columns: Columns, chosen: npt.NDArray[np.bool_]) -> Columns:
    return {name: columns[name][chosen] for name in ("time", "track")}
