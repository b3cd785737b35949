"""What do many events of one type say, column by column? As `EventType.fields` tells it of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bareflow_gdb.abi.events import SIGNED, EventType
from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.tracing.segments import ARGUMENTS

Column = npt.NDArray[Any]
"""Numbers that are less than 0 in two's complement of 64 bits."""
Columns = Mapping[str, Column]
"""By the names of a segment's columns, or by those of an event's arguments."""

_NANO = 10**9
_LAST_SECOND = (1 << 63) // _NANO - 1


def fields(kind: EventType, events: Columns) -> dict[str, Column]:
    """The arguments by name, without the id."""
    found: dict[str, Column] = {}
    words = {name: events[column] for name, column in zip(kind.arguments, ARGUMENTS, strict=False)}
    for name, value in words.items():
        if name.endswith("_low"):
            stem = name.removesuffix("_low")
            found[stem] = value | words[f"{stem}_high"].astype(np.uint64) << 32
        elif name == "packed":
            found |= {"version": value >> 8, "reason": value >> 3 & 0x1F, "level": value & 7}
        elif name in SIGNED:
            found[name] = value.view(np.int32).astype(np.int64).view(np.uint64)
        elif not name.endswith("_high"):
            found[name] = value
    return found


def nanoseconds(clock: Clock, tsc: Column) -> Column:
    """Since the clock's zero, what is before it at 0; where it measures no time a tick counts as a nanosecond."""
    ticks = tsc - np.minimum(tsc, np.uint64(clock.zero))
    if not measures_time(clock):
        made: Column = np.minimum(ticks, np.uint64((1 << 63) - 1))
    else:
        seconds, rest = np.divmod(ticks, np.uint64(clock.hz))
        seconds = np.minimum(seconds, np.uint64(_LAST_SECOND))
        made = seconds * np.uint64(_NANO) + (rest * (_NANO / clock.hz)).astype(np.uint64)
    return made


def moment(clock: Clock, tsc: int) -> int:
    """The same of one."""
    return int(nanoseconds(clock, np.array([tsc], np.uint64))[0])


def measures_time(clock: Clock) -> bool:
    """Is a tick of the clock a time?"""
    return clock.hz > 0 and not clock.counts_instructions
