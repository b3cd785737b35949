"""What does an event look like as columns?

`EVENT_DTYPE` is `struct bf_event` of bareflow.h, so the guest's bytes are used as they are. A trace adds the
ring that an event came from and the sequence number extended to 64 bits (`TRACE_DTYPE`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bareflow_gdb.abi import events as abi_events
from bareflow_gdb.abi import layouts

Events = npt.NDArray[np.void]

EVENT_DTYPE: np.dtype[np.void] = layouts.numpy_dtype("bf_event")

TRACE_DTYPE = np.dtype(
    [
        ("tsc", "<u8"),
        ("seq", "<u8"),
        ("ring", "u1"),
        ("type", "u1"),
        ("cpu", "u1"),
        ("id", "<u2"),
        ("arg", "<u4", (4,)),
    ]
)


@dataclass(frozen=True)
class Batch:
    """Consecutive records of one ring: `events` begin at sequence number `first`; `lost` went before them."""

    ring: int
    events: Events
    first: int
    lost: int


def to_trace(batches: Iterable[Batch]) -> Events:
    """The batches' events as `TRACE_DTYPE`, ordered by TSC; equal TSCs keep the order of the ring."""
    batches = list(batches)
    merged = np.empty(sum(len(batch.events) for batch in batches), TRACE_DTYPE)
    position = 0
    for batch in batches:
        part = merged[position : position + len(batch.events)]
        for name in ("tsc", "type", "cpu", "id", "arg"):
            part[name] = batch.events[name]
        part["ring"] = batch.ring
        part["seq"] = np.arange(batch.first, batch.first + len(part), dtype=np.uint64)
        position += len(part)
    return in_order(merged)


def in_order(events: Events) -> Events:
    """`TRACE_DTYPE` events sorted by TSC; the same array when it is sorted already."""
    tsc = events["tsc"]
    if len(tsc) < 2 or bool(np.all(tsc[1:] >= tsc[:-1])):
        return events
    return events[np.argsort(tsc, kind="stable")]


@dataclass(frozen=True)
class Event:
    """One event, decoded: arguments by name, as the table in `abi/events.py` tells."""

    tsc: int
    ring: int
    seq: int
    type: str
    cpu: int
    id: int
    fields: dict[str, int]


def decode(events: Events) -> Iterable[Event]:
    """`TRACE_DTYPE` events one by one, as records; for what is shown, not for millions."""
    for tsc, seq, ring, number, cpu, identifier, arguments in events.tolist():
        kind = abi_events.event_type(number)
        yield Event(tsc, ring, seq, kind.name, cpu, identifier, kind.fields(identifier, arguments))
