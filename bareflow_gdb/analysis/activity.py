"""What happened when? Lanes of spans and marks on the clock of the report, and what lay in the pools at each moment.

Every part is bounded, so that any trace gives a page that opens: `Activity.left_out` says what is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from bareflow_gdb.analysis.latencies import PHASES, SwapTimes
from bareflow_gdb.analysis.overview import Overview
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.events import Event, as_word
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.guest.pools.pools import Pools
from bareflow_gdb.tracing.events import Events, decode
from bareflow_gdb.tracing.store import Trace

MOST_MARKS = 2000
"""Of one kind, the last ones."""
MOST_BLOCKS = 4000
"""Allocations, the last ones."""
BINS = 400
"""Stretches of time in which all events are counted."""
_MARKED = {"exception": "bad", "mark": "note", "token": "note", "rollback": "bad", "reject": "bad", "pool_fail": "bad"}


@dataclass(frozen=True)
class Span:
    """Something that lasted; times are TSC."""

    start: int
    end: int
    label: str
    kind: str
    """"boot", "l0" to "l3" and "lx": which tier ran, or "phase": a step of a swap."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    tsc: int
    label: str
    kind: str
    """"swap", "bad", "note"."""


@dataclass(frozen=True)
class Lane:
    """One row of the picture."""

    name: str
    spans: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()
    counts: tuple[int, ...] = ()
    """Events in each of BINS equal stretches from the first to the last event; empty in other lanes."""


@dataclass(frozen=True)
class Stay:
    """A block that was allocated from `start` on; `end` None = it is still."""

    start: int
    end: int | None
    address: int
    size: int
    owner: str


@dataclass(frozen=True)
class PoolHistory:
    """What lay in a pool, as far as events tell."""

    kind: str
    base: int
    size: int
    blocks: tuple[Stay, ...]


@dataclass(frozen=True)
class Activity:
    """The picture: nothing in it when neither boot record nor events tell a time."""

    start: int
    last: int
    lanes: tuple[Lane, ...]
    pools: tuple[PoolHistory, ...]
    left_out: tuple[str, ...]


def activity(
    trace: Trace | None,
    view: Overview | None,
    boot: Boot | None,
    swaps: Sequence[Swap],
    times: Sequence[SwapTimes],
    pools: Pools | None,
    serial: str,
    last: int,
) -> Activity | None:
    """`view` and `times`: of the trace. `last`: the latest moment that is told. None when there is no time at all."""
    left_out: list[str] = []
    lanes = [*_boot(boot), *_functions([swap for swap in swaps if swap.tsc], times, last)]
    if trace is not None and view is not None and view.events:
        lanes += [*_marks(trace, left_out), *_console(trace, serial, left_out)]
        lanes += _density(trace, view.first_tsc, view.last_tsc)
    moments = [one.start for lane in lanes for one in lane.spans] + [one.tsc for lane in lanes for one in lane.marks]
    if not moments:
        return None
    histories = _pools(trace, pools, left_out) if trace is not None and pools is not None else ()
    return Activity(min(moments), max(last, *moments), tuple(lanes), tuple(histories), tuple(left_out))


def _boot(boot: Boot | None) -> Iterator[Lane]:
    stages = [stage for stage in boot.stages if stage.reached and stage.tsc] if boot is not None else []
    if len(stages) > 1:
        pairs = pairwise(stages)
        yield Lane("boot", tuple(Span(one.tsc, two.tsc, f"to {two.name}", "boot") for one, two in pairs))


def _functions(swaps: list[Swap], times: Sequence[SwapTimes], last: int) -> Iterator[Lane]:
    """A lane for each function: the tier that ran, a mark for each swap, and the steps that led to it."""
    steps: dict[str, list[Span]] = {}
    for one in times:
        told = [(phase, one.reached[phase]) for phase in PHASES if phase in one.reached]
        reached = sorted(told, key=lambda step: step[1])
        for (before, start), (after, end) in pairwise(reached):
            label = f"O{one.level}: {before} → {after}".replace("_", " ")
            steps.setdefault(one.function, []).append(Span(start, end, label, "phase"))
    for name in dict.fromkeys(swap.function for swap in swaps):
        of = sorted((swap for swap in swaps if swap.function == name), key=lambda swap: swap.tsc)[:MOST_MARKS]
        ends = [*(swap.tsc for swap in of[1:]), max(last, of[-1].tsc)]
        spans = [
            Span(swap.tsc, end, f"O{swap.to_level}", _level(swap.to_level)) for swap, end in zip(of, ends, strict=True)
        ]
        marks = tuple(Mark(swap.tsc, _told(swap), "swap") for swap in of)
        yield Lane(name, (*spans, *steps.get(name, ())[:MOST_MARKS]), marks)


def _level(level: int) -> str:
    return f"l{level}" if 0 <= level <= 3 else "lx"


def _told(swap: Swap) -> str:
    before = "" if swap.from_level is None else f"O{swap.from_level} → "
    call = f", call {swap.call:,}" if swap.call else ""
    return f"{before}O{swap.to_level} ({swap.reason.replace('_', ' ')}{call})"


def _marks(trace: Trace, left_out: list[str]) -> Iterator[Lane]:
    for kind, style in _MARKED.items():
        events = list(decode(_last(trace, kind, MOST_MARKS, left_out)))
        if events:
            yield Lane(kind.replace("_", " "), marks=tuple(Mark(one.tsc, _words(trace, one), style) for one in events))


def _words(trace: Trace, event: Event) -> str:
    def shown(field: str, value: int) -> str:
        name = trace.function_name(value) if field == "function" else f"{value:,}"
        return as_word(field, value) or name

    return ", ".join(f"{field.replace('_', ' ')} {shown(field, value)}" for field, value in event.fields().items())


def _console(trace: Trace, serial: str, left_out: list[str]) -> Iterator[Lane]:
    """What was printed when: an event tells where its bytes are in all that was printed."""
    marks = []
    for event in decode(_last(trace, "console", MOST_MARKS, left_out)):
        fields = event.fields()
        begin = fields["position"]
        text = " ".join(serial[begin : begin + fields["bytes"]].split())
        marks.append(Mark(event.tsc, text or f"{fields['bytes']:,} bytes", "note"))
    if marks:
        yield Lane("console", marks=tuple(marks))


def _density(trace: Trace, first: int, last: int) -> Iterator[Lane]:
    """How many events of all types there were over time."""
    counts = np.zeros(BINS, np.int64)
    width = max(last - first, 1) / BINS
    for part in trace.parts("tsc"):
        # A damaged trace has times before its first event, too.
        since = np.maximum(part.column("tsc").to_numpy(), np.uint64(first)) - np.uint64(first)
        counts += np.bincount(np.minimum(since / width, BINS - 1).astype(np.int64), minlength=BINS)
    yield Lane("all events", (Span(first, last, "all events", "phase"),), counts=tuple(counts.tolist()))


def _pools(trace: Trace, pools: Pools, left_out: list[str]) -> Iterator[PoolHistory]:
    taken = decode(_last(trace, "pool_alloc", MOST_BLOCKS, left_out))
    given_back = decode(_last(trace, "pool_free", MOST_BLOCKS, left_out))
    shrunk = decode(_last(trace, "pool_shrink", MOST_BLOCKS, left_out))
    stays: dict[str, list[Stay]] = {}
    there: dict[tuple[str, int], Stay] = {}
    for event in sorted((*taken, *given_back, *shrunk), key=lambda one: (one.tsc, one.seq)):
        fields = event.fields()
        pool = word("bf_pool_kind", fields["pool"])
        place = pool, fields["address"]
        before = there.pop(place, None)
        if before is not None:
            stays.setdefault(pool, []).append(replace(before, end=event.tsc))
        if event.type == "pool_alloc":
            owner = f"{word('bf_owner_kind', fields['owner_kind'])} {fields['owner']:,}"
            there[place] = Stay(event.tsc, None, fields["address"], fields["size"], owner)
        elif event.type == "pool_shrink" and before is not None:
            there[place] = replace(before, start=event.tsc, size=fields["size"])
    # A kernel before interface 1.5 does not tell when it makes a block smaller: of those that are left, memory does.
    now: dict[int, int] = {
        block.address: block.size for pool in pools.pools for block in pool.blocks if block.state == "used"
    }
    for (pool, _), stay in there.items():
        stays.setdefault(pool, []).append(replace(stay, size=now.get(stay.address, stay.size)))
    for known in pools.pools:
        if stays.get(known.kind):
            yield PoolHistory(known.kind, known.base, known.size, tuple(stays[known.kind]))


def _last(trace: Trace, kind: str, most: int, left_out: list[str]) -> Events:
    events = trace.last(most + 1, kind)
    if len(events) > most:
        left_out.append(f"{kind.replace('_', ' ')} events before the last {most:,}")
    return events[-most:]
