"""When was each function swapped, why, and to what?

The version table and its causes tell the last publication of every version. The events in EVENTS, as far as
they are still in the ring, add the earlier publications of versions that were rolled back to, and stand in for
tables that are not there (a trace without a memory snapshot).
Read budget, beyond the tables of functions.py: none, or that of events.py when the tables do not tell all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bareflow_gdb.guest.base.values import Address, microseconds, word
from bareflow_gdb.guest.code.being_published import Publishing, UnderWay
from bareflow_gdb.guest.code.costs import NOT_MEASURED, Costs
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.guest.code.functions import Function, Tables, Version
from bareflow_gdb.guest.code.worth import Worth, judge

EVENTS = frozenset({"threshold", "publish", "first_execution"})


@dataclass(frozen=True, kw_only=True)
class Swap:
    """One publishing store that replaced code. What has a default is not kept by stock kernels."""

    function: str
    index: int
    """Index into the function table."""
    from_level: int | None
    to_level: int
    from_version: int | None = None
    to_version: int = 0
    """0 = the kernel does not number its versions; `tsc` is 0 then too."""
    reason: str
    call: int | None
    """Calls of the function when a threshold asked for it; None when something else did."""
    old_code: Address
    new_code: Address
    code_size: int
    tsc: int = 0
    tsc_threshold: int | None = None
    tsc_first: int | None = None
    threshold_to_publish_us: float | None = None
    publish_to_first_us: float | None = None
    same_code: bool
    """Old and new version have equal code bytes: the swap changed nothing."""
    worth: Worth | None = None
    """None where the calls of versions are not measured, or that was not read: `Swaps.no_worth`."""


@dataclass(frozen=True)
class Swaps:
    """All swaps that can still be told, in the order of their time."""

    swaps: tuple[Swap, ...]
    swap_count: int
    """Publishing stores ever made, as far as `counted_by` tells; a function's first version is not one."""
    tsc_hz: int
    forgotten: int | None
    """Swaps that neither the version table nor the events can tell any more; None = it cannot be known."""
    counted_by: str = "guest"
    """What the count comes from: the guest's own counter, "levels" in memory, "events" of a trace, a serial "log"."""
    unread: int = 0
    """Versions that were left out, because over a gdbstub they cost packets: their swaps are not told."""
    publishing: tuple[Publishing, ...] = ()
    """The swaps that are being made: the pointer is stored, the records that tell of it are not."""
    under_way: tuple[UnderWay, ...] = ()
    """The swaps that are begun and not ended, by the guest's own word."""
    vetoed: tuple[str, ...] = ()
    """The functions that are not swapped."""
    no_worth: str = NOT_MEASURED
    """Why it cannot be told what the swaps were worth, "" when it can."""

    @property
    def complete(self) -> bool:
        """Every swap is told, and from which version it led."""
        return self.forgotten == 0 and not self.unread and all(swap.from_version is not None for swap in self.swaps)


@dataclass(frozen=True)
class _Publication:
    tsc: int
    function: int
    version: int
    level: int
    reason: str
    old: int | None
    new: int


@dataclass(frozen=True)
class _Asked:
    """When a threshold asked for a version."""

    call: int
    tsc: int


class _Story:
    """The events of one function, each kind in the order of time."""

    def __init__(self) -> None:
        self.published: list[_Publication] = []
        self.asked: list[_Asked] = []
        self.first_runs: list[tuple[int, int]] = []
        """(TSC, version) of each first execution."""

    def add(self, event: Event) -> None:
        if event.type == "publish":
            said = event.fields()
            reason = word("bf_reason", said["reason"])
            what = (said["version"], said["level"], reason, said["old"], said["new"])
            self.published.append(_Publication(event.tsc, event.id, *what))
        elif event.type == "threshold":
            self.asked.append(_Asked(event.fields()["calls"], event.tsc))
        elif event.type == "first_execution":
            self.first_runs.append((event.tsc, event.fields()["version"]))


def list_swaps(
    tables: Tables, events: Sequence[Event], costs: Costs | None = None, no_worth: str = NOT_MEASURED
) -> Swaps:
    """Events are those of the main ring by sequence number, any part of them. no_worth: why there are no costs."""
    tsc_hz = tables.counters.tsc_hz
    by_number = {version.number: version for version in tables.versions}
    versions: dict[int, list[Version]] = defaultdict(list)
    for version in tables.versions:
        versions[version.function].append(version)
    stories: dict[int, _Story] = defaultdict(_Story)
    for event in events:
        stories[event.id].add(event)
    found: list[Swap] = []
    for function in tables.functions:
        story = stories[function.index]
        whole = len(tables.versions) == tables.counters.version_count
        previous = _registered(function.index, versions[function.index]) if whole else None
        for publication in _publications(function.index, versions[function.index], story):
            if publication.reason != "initial" or (previous is not None and previous.version != publication.version):
                swap = _swap(function, previous, publication, by_number, story, tsc_hz)
                found.append(swap if costs is None else replace(swap, worth=_worth(swap, by_number, costs)))
            previous = publication
    untold = max(0, tables.counters.swap_count - len(found))
    return Swaps(
        swaps=tuple(sorted(found, key=lambda swap: (swap.tsc, swap.to_version))),
        swap_count=tables.counters.swap_count,
        tsc_hz=tsc_hz,
        # What this memory does not have, or nobody read, the guest need not have forgotten.
        forgotten=untold if tables.whole or not untold else None,
        unread=tables.unread,
        no_worth=no_worth if costs is None else "",
    )


def _worth(swap: Swap, by_number: dict[int, Version], costs: Costs) -> Worth:
    version = by_number.get(swap.to_version)
    by_host = version is None or version.provider == "host"
    made = None if by_host or swap.tsc_threshold is None else swap.tsc - swap.tsc_threshold
    return judge(costs.get(swap.from_version or 0), costs.get(swap.to_version), made)


def _registered(function: int, versions: Sequence[Version]) -> _Publication | None:
    """How a function's first version came to be published. When it was put back later, its record tells only that."""
    first = next((version for version in versions if version.reason == "initial"), None)
    if first is None:
        return None
    return _Publication(0, function, first.number, first.level, first.reason, None, first.entry)


def _publications(function: int, versions: Sequence[Version], story: _Story) -> list[_Publication]:
    """What the version table says of each version's last publication, and the events of all earlier ones."""
    last = [
        _Publication(v.tsc_published, function, v.number, v.level, _reason(v), None, v.entry)
        for v in versions
        if v.tsc_published
    ]
    since = {publication.version: publication.tsc for publication in last}
    # The table holds the time of the store; the event of the same store is written right after it.
    earlier = [item for item in story.published if item.version not in since or item.tsc < since[item.version]]
    return sorted(last + earlier, key=lambda publication: (publication.tsc, publication.version))


def _reason(version: Version) -> str:
    """Why it was published last: a version that ran before its publication was rolled back to."""
    return "rollback" if version.rolled_back_to else version.reason


def _swap(
    function: Function,
    previous: _Publication | None,
    now: _Publication,
    by_number: dict[int, Version],
    story: _Story,
    tsc_hz: int,
) -> Swap:
    version = by_number.get(now.version)
    before = by_number.get(previous.version) if previous else None
    tsc_first = _first_execution(version, now, story)
    asked = _asked(version, previous, now, story) if now.reason == "threshold" else None
    old = previous.new if previous else now.old or 0
    return Swap(
        function=function.name,
        index=function.index,
        from_level=previous.level if previous else None,
        to_level=now.level,
        from_version=previous.version if previous else None,
        to_version=now.version,
        # What a function was registered with can only be published again by putting it back.
        reason="rollback" if now.reason == "initial" else now.reason,
        call=asked.call if asked else None,
        old_code=Address(old),
        new_code=Address(now.new),
        code_size=version.code_size if version else 0,
        tsc=now.tsc,
        tsc_threshold=asked.tsc if asked else None,
        tsc_first=tsc_first,
        threshold_to_publish_us=microseconds(now.tsc - asked.tsc, tsc_hz) if asked else None,
        publish_to_first_us=microseconds(tsc_first - now.tsc, tsc_hz) if tsc_first else None,
        same_code=bool(version and before and _same_as(version) == _same_as(before)),
    )


def _asked(version: Version | None, previous: _Publication | None, now: _Publication, story: _Story) -> _Asked | None:
    """By the version's cause, else by the newest THRESHOLD event between two publications of the function."""
    if version is not None and version.tsc_asked:
        return _Asked(version.asked_at_call, version.tsc_asked)
    at = bisect_right(story.asked, now.tsc, key=lambda asked: asked.tsc)
    if at and story.asked[at - 1].tsc > (previous.tsc if previous else 0):
        return story.asked[at - 1]
    return None


def _first_execution(version: Version | None, now: _Publication, story: _Story) -> int | None:
    """When the version first ran after this publication; by the events if the table does not have it."""
    if version is not None:
        return version.tsc_first if version.tsc_first >= now.tsc else None
    at = bisect_left(story.first_runs, now.tsc, key=lambda run: run[0])
    if at < len(story.first_runs) and story.first_runs[at][1] == now.version:
        return story.first_runs[at][0]
    return None


def _same_as(version: Version) -> int:
    """The oldest version with these code bytes."""
    return version.same_as or version.number
