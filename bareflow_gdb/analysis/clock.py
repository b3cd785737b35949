"""From when do the times of a report count, and how are they told?

One zero for all of them: stage 1 of the boot loader where the boot record tells it, else the first event.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TICKS = 6
_ROUND = (1, 2, 5, 10)


@dataclass(frozen=True)
class Clock:
    """The clock of a guest: the TSC, of a known rate or not, or QEMU's count of instructions."""

    hz: int
    """TSC ticks per second, 0 = not measured."""
    counts_instructions: bool = False
    zero: int = 0
    """The TSC from which moments count."""
    since: str = ""
    """What happened then; "" = there are no moments."""
    last: int = 0
    """The TSC of the last moment that is told."""

    def duration(self, ticks: int) -> str:
        """TSC ticks in words: a time in ms, or cycles when the clock is not measured, or instructions."""
        per_unit, unit = self.scale
        return f"{ticks:,} {unit}" if self._unit else f"{ticks / per_unit:,.3f} {unit}"

    def moment(self, tsc: int) -> str:
        """When that was."""
        ticks, unit = self.scale
        value = (tsc - self.zero) / ticks
        return f"{value:+,.0f} {unit}" if self._unit else f"{value:+,.3f} {unit}"

    def round_moments(self, start: int, last: int) -> list[tuple[int, str]]:
        """Moments of a stretch of time for the marks of an axis, at round values, each with its label."""
        ticks, unit = self.scale
        first, end = (start - self.zero) / ticks, (last - self.zero) / ticks
        step = round_up((end - first) / _TICKS)
        if self._unit:
            step = max(step, 1)
        digits = max(0, -math.floor(math.log10(step)))
        numbers = range(math.ceil(first / step), math.floor(end / step) + 1)
        values = [number * step for number in numbers]
        return [(self.zero + round(value * ticks), f"{value + 0.0:,.{digits}f} {unit}") for value in values]

    @property
    def _unit(self) -> str:
        """What is counted where that is no time."""
        return "instructions" if self.counts_instructions else "" if self.hz else "cycles"

    @property
    def scale(self) -> tuple[float, str]:
        """TSC ticks of the unit, and its name: every time of a report is told in the unit of render/view.py."""
        return (1, self._unit) if self._unit else (self.hz / 1000, "ms")


def round_up(step: float) -> float:
    """A step between marks: the next of 1, 2, 5, 10, 20 …"""
    if step <= 0:
        return 1
    power: float = 10 ** math.floor(math.log10(step))
    return next(factor * power for factor in _ROUND if factor * power >= step * 0.999)
