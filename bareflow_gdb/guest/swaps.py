"""When was each function swapped, why, and to what?

Joined from two sources: the version table knows every publication that still has its record; the events in
EVENTS, as far as they are still in the ring, add the call, the times in between, and roll-backs.
Read budget, beyond the tables of functions.py: that of events.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bareflow_gdb.guest.events import Event
from bareflow_gdb.guest.functions import Function, Tables, Version
from bareflow_gdb.guest.values import Address, microseconds, word

EVENTS = frozenset({"threshold", "publish", "first_execution"})


@dataclass(frozen=True)
class Swap:
    """One publishing store that replaced code."""

    function: str
    index: int
    """Index into the function table."""
    from_level: int | None
    to_level: int
    from_version: int | None
    to_version: int
    reason: str
    call: int | None
    """Calls when it was decided: from the THRESHOLD event, else the threshold of the level."""
    old_code: Address
    new_code: Address
    code_size: int
    tsc: int
    tsc_threshold: int | None
    tsc_first: int | None
    threshold_to_publish_us: float | None
    publish_to_first_us: float | None
    same_code: bool
    """Old and new version have equal code bytes: the swap changed nothing."""


@dataclass(frozen=True)
class Swaps:
    """All swaps that can still be told, in the order of their time."""

    swaps: tuple[Swap, ...]
    swap_count: int
    """Publishing stores ever made, by the guest's own count; a function's first version is not one."""
    tsc_hz: int
    forgotten: int
    """Swaps that neither the version table nor the events can tell any more."""


@dataclass(frozen=True)
class _Publication:
    tsc: int
    function: int
    version: int
    level: int
    reason: str
    old: int | None
    new: int


def list_swaps(tables: Tables, events: Sequence[Event], thresholds: tuple[int, int, int]) -> Swaps:
    """Events are those of the main ring by sequence number, any part of them."""
    versions, tsc_hz = tables.versions, tables.counters.tsc_hz
    by_number = {version.number: version for version in versions}
    found: list[Swap] = []
    for function in tables.functions:
        previous: _Publication | None = None
        for publication in _publications(function.index, versions, events):
            if previous is not None or publication.reason != "initial":
                found.append(_swap(function, previous, publication, by_number, events, thresholds, tsc_hz))
            previous = publication
    return Swaps(
        swaps=tuple(sorted(found, key=lambda swap: (swap.tsc, swap.to_version))),
        swap_count=tables.counters.swap_count,
        tsc_hz=tsc_hz,
        forgotten=max(0, tables.counters.swap_count - len(found)),
    )


def _publications(function: int, versions: Sequence[Version], events: Sequence[Event]) -> list[_Publication]:
    """What the version table says of each version's last publication, and the events of all earlier ones."""
    last = [
        _Publication(v.tsc_published, function, v.number, v.level, v.reason, None, v.entry)
        for v in versions
        if v.function == function and v.tsc_published
    ]
    seen = [_of_event(event) for event in events if event.type == "publish" and event.id == function]
    told: dict[int, _Publication] = {}
    earlier: list[_Publication] = []
    since = {publication.version: publication.tsc for publication in last}
    for publication in seen:
        # The table holds the time of the store; its event is written right after it.
        if publication.version in since and publication.tsc >= since[publication.version]:
            told.setdefault(publication.version, publication)
        else:
            earlier.append(publication)
    joined = [
        replace(item, reason=told[item.version].reason, old=told[item.version].old)
        if item.version in told
        else item
        for item in last
    ]
    return sorted(joined + earlier, key=lambda publication: (publication.tsc, publication.version))


def _of_event(event: Event) -> _Publication:
    fields = event.fields()
    return _Publication(
        tsc=event.tsc,
        function=event.id,
        version=fields["version"],
        level=fields["level"],
        reason=word("bf_reason", fields["reason"]),
        old=fields["old"],
        new=fields["new"],
    )


def _swap(
    function: Function,
    previous: _Publication | None,
    now: _Publication,
    by_number: dict[int, Version],
    events: Sequence[Event],
    thresholds: tuple[int, int, int],
    tsc_hz: int,
) -> Swap:
    version = by_number.get(now.version)
    before = by_number.get(previous.version) if previous else None
    since = previous.tsc if previous else 0
    threshold = _last(events, "threshold", now.function, since, now.tsc)
    tsc_first = _first_execution(version, now, events)
    call = threshold.fields()["calls"] if threshold else None
    if call is None and now.reason == "threshold" and 1 <= now.level <= len(thresholds):
        call = thresholds[now.level - 1]
    old = now.old if now.old is not None else (previous.new if previous else 0)
    return Swap(
        function=function.name,
        index=function.index,
        from_level=previous.level if previous else None,
        to_level=now.level,
        from_version=previous.version if previous else None,
        to_version=now.version,
        reason=now.reason,
        call=call,
        old_code=Address(old),
        new_code=Address(now.new),
        code_size=version.code_size if version else 0,
        tsc=now.tsc,
        tsc_threshold=threshold.tsc if threshold else None,
        tsc_first=tsc_first,
        threshold_to_publish_us=microseconds(now.tsc - threshold.tsc, tsc_hz) if threshold else None,
        publish_to_first_us=microseconds(tsc_first - now.tsc, tsc_hz) if tsc_first else None,
        same_code=bool(version and before and _same_as(version) == _same_as(before)),
    )


def _last(events: Sequence[Event], kind: str, function: int, since: int, until: int) -> Event | None:
    """The newest event of this kind between two publications of the function."""
    for event in reversed(events):
        if event.type == kind and event.id == function and since < event.tsc <= until:
            return event
    return None


def _first_execution(version: Version | None, now: _Publication, events: Sequence[Event]) -> int | None:
    """When the version first ran after this publication; by the events if the table does not have it."""
    if version is not None:
        return version.tsc_first if version.tsc_first >= now.tsc else None
    for event in events:
        if event.type == "first_execution" and event.id == now.function and event.tsc >= now.tsc:
            return event.tsc if event.fields()["version"] == now.version else None
    return None


def _same_as(version: Version) -> int:
    """The oldest version with these code bytes."""
    return version.same_as or version.number
