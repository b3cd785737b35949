"""What does an event look like as columns?

`EVENT_DTYPE` is `struct bf_event` of bareflow.h, so the guest's bytes are used as they are. A trace adds the
ring that an event came from and the sequence number extended to 64 bits (`TRACE_DTYPE`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import event_type
from bareflow_gdb.guest.code.events import Event

Events = npt.NDArray[np.void]

EVENT_DTYPE: np.dtype[np.void] = layouts.numpy_dtype("bf_event")

TRACE_DTYPE = np.dtype(
    [("tsc", "<u8"), ("seq", "<u8"), ("ring", "u1"), ("type", "u1"), ("cpu", "u1"), ("id", "<u2"), ("arg", "<u4", (4,))]
)


@dataclass(frozen=True)
class Batch:
    """Consecutive records of one ring: `events` begin at sequence number `first`; `lost` went before them."""

    ring: int
    events: Events
    first: int
    lost: int


def decode(events: Events) -> Iterator[Event]:
    """`TRACE_DTYPE` events one by one, as the records of floor 3; for what is shown, not for millions."""
    for tsc, seq, ring, number, cpu, identifier, arguments in events.tolist():
        a, b, c, d = (int(value) for value in arguments)
        yield Event(tsc, seq, ring, event_type(number).name, cpu, identifier, (a, b, c, d))
