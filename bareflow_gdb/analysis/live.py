"""What does a running guest do at this moment, and how fast: functions, tiers, pools, events, swaps, findings?

All of it is read out of QEMU's RAM; the guest is not stopped. Rates are the differences between two looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.swaps import Swap

T = TypeVar("T")

LAST_SWAPS = 5


@dataclass(frozen=True)
class Counter:
    """What only grows, and by how much a second."""

    count: int
    per_second: float | None
    """None at the first look, and when it has begun anew."""


@dataclass(frozen=True)
class FunctionNow:
    """One function of the adaptive JIT."""

    name: str
    level: int
    version: int | None
    calls: Counter
    next_threshold: int | None


@dataclass(frozen=True)
class PoolNow:
    """One pool, in bytes."""

    kind: str
    size: int
    used: int
    peak: int
    allocations: Counter


@dataclass(frozen=True)
class Look:
    """A guest at one moment; what could not be read is left out, and `missing` says why."""

    at: float
    """Seconds of the host's monotonic clock."""
    stage: str
    events: Counter | None
    """Ever written to its rings."""
    swaps: Counter | None
    functions: tuple[FunctionNow, ...]
    pools: tuple[PoolNow, ...]
    last_swaps: tuple[Swap, ...]
    """The newest first."""
    findings: tuple[str, ...]
    missing: tuple[str, ...]


def look(subject: Subject, before: Look | None = None) -> Look:
    """Reads everything once. Raises nothing: what cannot be read is missing."""
    missing: list[str] = []
    at = time.monotonic()

    def ask(question: Callable[[], T]) -> T | None:
        try:
            return question()
        except BareflowError as error:
            missing.append(str(error))
            return None

    def counter(count: int, then: Counter | None) -> Counter:
        grew = before is not None and then is not None and count >= then.count and at > before.at
        return Counter(count, (count - then.count) / (at - before.at) if grew and before and then else None)

    status = ask(lambda: subject.kernel.status())
    jit = ask(lambda: subject.kernel.jit())
    pools = ask(lambda: subject.kernel.pools())
    swaps = ask(lambda: subject.kernel.swaps(every=True))
    events = sum(ring.events for ring in status.rings) if status is not None and status.rings else None
    calls = {one.name: one.calls for one in before.functions} if before is not None else {}
    allocations = {one.kind: one.allocations for one in before.pools} if before is not None else {}
    return Look(
        at=at,
        stage=status.came_to if status is not None else "not known",
        events=None if events is None else counter(events, before.events if before is not None else None),
        swaps=None if swaps is None else counter(swaps.swap_count, before.swaps if before is not None else None),
        functions=tuple(
            FunctionNow(one.name, one.level, one.version, counter(one.calls, calls.get(one.name)), one.next_threshold)
            for one in (jit.functions if jit is not None else ())
        ),
        pools=tuple(
            PoolNow(one.kind, one.size, one.used, one.peak, counter(one.allocations, allocations.get(one.kind)))
            for one in (pools.pools if pools is not None else ())
        ),
        last_swaps=tuple(reversed(swaps.swaps[-LAST_SWAPS:])) if swaps is not None else (),
        findings=tuple(f"{one.check}: {one}" for one in registry.run(subject, cheap=True).findings if one.bad),
        missing=tuple(dict.fromkeys(missing)),
    )
