"""What did the guest do, from when to when, and inside of what: boot stages, module calls, compiles?

An event tells of a call when it ends, and of what it encloses before: what has ended waits until its stage has ended,
or too much waits. Then the stage is told in pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.segments import to_events
from bareflow_gdb.tracing.store import Trace

TYPES = ("boot", "module_call", "compile_begin", "compile_end")
_MOST_WAITING = 1 << 14
_DEEPEST = 64
_LEVELS = layouts.const("BF_LEVELS")


@dataclass
class Stretch:
    """Something that lasted, in TSC ticks, and what happened within it, one after the other."""

    name: str
    start: int
    end: int
    within: list[Stretch] = field(default_factory=list)

    @property
    def own(self) -> int:
        """The ticks in which nothing happened within."""
        return self.end - self.start - sum(one.end - one.start for one in self.within)


def stretches(trace: Trace, last: int) -> Iterator[Stretch]:
    """The outermost ones in the order of time, without overlaps; `last` is the end of the trace. Raises BadData."""
    nest = _Nest()
    compiles: dict[int, int] = {}
    for part in trace.parts(types=TYPES):
        for event in decode(to_events(part)):
            if event.type == "boot":
                yield from nest.stage(word("bf_boot_stage", event.id), event.tsc)
            elif event.type == "compile_begin":
                compiles[event.id] = event.tsc
            else:
                began = _began(event, compiles)
                nest.ended(_name(trace, event), event.tsc if began is None else began, event.tsc)
            if nest.waiting > _MOST_WAITING:
                yield from nest.told()
    yield from nest.stage("", last)


def _began(event: Event, compiles: dict[int, int]) -> int | None:
    if event.type == "compile_end":
        return compiles.pop(event.id, None)
    return max(0, event.tsc - event.fields()["cycles"])


def _name(trace: Trace, event: Event) -> str:
    if event.type == "compile_end":
        level = event.fields()["level"]
        return f"compile {trace.function_name(event.id)}" + (f" O{level}" if level < _LEVELS else "")
    modules = trace.manifest.modules
    return f"module {modules[event.id] if event.id < len(modules) else event.id}"


class _Nest:
    """What has ended since the stage began, the outermost ones only."""

    def __init__(self) -> None:
        self.waiting = 0
        self._stage = ""
        self._since = 0
        self._done: list[tuple[Stretch, int]] = []
        """Each with its depth."""

    def ended(self, name: str, start: int, end: int) -> None:
        """What began after it is within it."""
        before = self._done[-1][0].end if self._done else self._since
        end = max(end, before)
        within, deepest = [], 0
        while self._done and self._done[-1][0].start >= start and self._done[-1][1] < _DEEPEST:
            inner, depth = self._done.pop()
            within.append(inner)
            deepest = max(deepest, depth)
        floor = self._done[-1][0].end if self._done else self._since
        self._done.append((Stretch(name, min(max(start, floor), end), end, within[::-1]), deepest + 1))
        self.waiting += 1

    def told(self, until: int = 0) -> Iterator[Stretch]:
        """What waits, within its stage as far as that has come."""
        until = max(until, self._done[-1][0].end if self._done else self._since)
        within = [one for one, _ in self._done]
        if not self._stage:
            yield from within
        elif until > self._since:
            yield Stretch(self._stage, self._since, until, within)
        self._since, self._done, self.waiting = until, [], 0

    def stage(self, name: str, tsc: int) -> Iterator[Stretch]:
        """The stage that goes on until now; another one begins."""
        yield from self.told(tsc)
        self._stage = name
