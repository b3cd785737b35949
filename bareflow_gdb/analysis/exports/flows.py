"""Which events belong to one swap: threshold, request, compile, emit, publish, first call? And what do they end?

Events come in the order of time, piece by piece; what is remembered between them is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.analysis.exports.columns import Column, Columns
from bareflow_gdb.analysis.latencies import PHASES

_MOST_VERSIONS = 1 << 16
_FIRST_EXECUTION, _THRESHOLD, _PUBLISH, _BEGIN, _END, _BOOT, _REGISTER = (
    BY_NAME[name].number
    for name in ("first_execution", "threshold", "publish", "compile_begin", "compile_end", "boot", "jit_register")
)
_TYPES = (_BOOT, _REGISTER, *(BY_NAME[name].number for name in PHASES))


@dataclass
class Flows:
    """The story so far."""

    _flows: int = 0
    _of_function: dict[int, int] = field(default_factory=dict)
    """The swap that is under way."""
    _of_version: dict[int, int] = field(default_factory=dict)
    """That of a version which is published and did not run yet."""
    _open: set[tuple[int, int]] = field(default_factory=set)
    """Type of the event that began something, and of which function."""

    def follow(self, events: Columns) -> tuple[Column, Column]:
        """For each event: the number of its swap, 0 = of none; and how many stretches of its kind it ends, 0 or 1.

        A stretch is a compile, a tier, which the next one ends, or a stage of the boot.
        """
        swaps, ends = np.zeros((2, len(events["type"])), np.uint64)
        chosen = np.flatnonzero(np.isin(events["type"], _TYPES))
        told = (chosen, *(events[name][chosen] for name in ("type", "id", "arg0", "arg3")))
        for at, number, function, version, packed in zip(*(column.tolist() for column in told), strict=True):
            if number == _FIRST_EXECUTION:
                swaps[at] = self._of_version.pop(version, 0) or self._next()
                continue
            if number not in (_BOOT, _REGISTER):
                swaps[at] = self._swap(number, function, packed >> 8)
            # A function is registered with the tier that it begins with.
            began = _PUBLISH if number == _REGISTER else number
            ends[at] = self._ended(began, 0 if number == _BOOT else function)
        return swaps, ends

    def _swap(self, number: int, function: int, version: int) -> int:
        if number == _THRESHOLD or function not in self._of_function:
            self._of_function[function] = self._next()
        swap = self._of_function[function]
        if number == _PUBLISH:
            del self._of_function[function]
            if len(self._of_version) >= _MOST_VERSIONS:
                self._of_version.clear()
            self._of_version[version] = swap
        return swap

    def _ended(self, number: int, function: int) -> int:
        if number == _END:
            was = (_BEGIN, function) in self._open
            self._open.discard((_BEGIN, function))
            return int(was)
        if number not in (_BEGIN, _PUBLISH, _BOOT):
            return 0
        was = (number, function) in self._open
        self._open.add((number, function))
        return int(was)

    def _next(self) -> int:
        self._flows += 1
        return self._flows
