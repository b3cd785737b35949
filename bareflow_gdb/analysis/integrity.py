"""Is all of a trace there and readable: every event, every version's code, the last moment's memory?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.tracing.store import Trace


@dataclass(frozen=True)
class Part:
    """One part of a trace: what was read of it, and what is wrong."""

    name: str
    read: str
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Is nothing wrong?"""
        return not self.problems


def verify(trace: Trace) -> tuple[Part, ...]:
    """Reads everything, in bounded memory. Raises nothing: what is damaged is a problem of its part."""
    readers: tuple[tuple[str, Callable[[Trace], tuple[str, list[str]]]], ...] = (
        ("recording", _recording),
        ("events", _events),
        ("code", _code),
        ("memory", _memory),
        ("symbols", lambda trace: (f"{len(trace.symbols):,} symbols", [])),
        ("serial log", lambda trace: (f"{len(trace.serial()):,} characters", [])),
    )
    return tuple(_part(name, trace, read) for name, read in readers)


def _part(name: str, trace: Trace, read: Callable[[Trace], tuple[str, list[str]]]) -> Part:
    try:
        told, problems = read(trace)
    except BareflowError as error:
        return Part(name, "", (str(error),))
    return Part(name, told, tuple(problems))


def _recording(trace: Trace) -> tuple[str, list[str]]:
    manifest = trace.manifest
    if trace.recorded_now:
        return "it is still being recorded", []
    if not manifest.complete:
        return "", ["it is not complete: its recorder ended early; `bareflow trace recover` completes it"]
    return f"complete, ended: {manifest.ended}", []


def _events(trace: Trace) -> tuple[str, list[str]]:
    """Every value of every event, against the recorder's account."""
    rings: Counter[int] = Counter()
    disorder = 0
    for part in trace.parts():
        part.validate(full=True)
        tsc = part.column("tsc").to_numpy()
        disorder += int(np.count_nonzero(tsc[1:] < tsc[:-1]))
        numbers, counts = np.unique(part.column("ring").to_numpy(), return_counts=True)
        rings.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    problems = list(_account(trace, rings)) if trace.manifest.complete else []
    if disorder:
        problems.append(f"{disorder:,} events stand before an earlier one")
    return f"{sum(rings.values()):,} events", problems


def _account(trace: Trace, rings: Counter[int]) -> Iterator[str]:
    rings = rings.copy()
    missing: Counter[int] = Counter()
    for loss in trace.losses():
        missing[loss.ring] += loss.count
    for source in trace.manifest.sources:
        there = rings.pop(source.ring, 0)
        if there != source.events:
            yield f"{source.name} has {there:,} events here, the recorder took {source.events:,}"
        if missing[source.ring] > source.lost:
            yield f"{source.name} misses {missing[source.ring]:,} events here, the recorder lost {source.lost:,}"
    for ring, there in rings.items():
        yield f"{there:,} events are of ring {ring}, which the recorder does not name"


def _code(trace: Trace) -> tuple[str, list[str]]:
    problems = []
    saved = [code for code in trace.codes.values() if code.sha256]
    for code in saved:
        try:
            data = trace.code_bytes(code.version)
        except BareflowError as error:
            problems.append(str(error))
            continue
        if len(data) != code.size:
            problems.append(f"the code of version {code.version} has {len(data):,} bytes, not {code.size:,}")
    return f"{len(saved):,} of {len(trace.codes):,} versions", problems


def _memory(trace: Trace) -> tuple[str, list[str]]:
    memory = trace.memory()
    for start, end in memory.ranges:
        memory.read(start, end - start, "a saved range")
    # Not every source that was recorded had one.
    with suppress(Unreachable):
        memory.screen()
    return f"{sum(end - start for start, end in memory.ranges):,} bytes in {len(memory.ranges):,} ranges", []
