"""Do the events tell of the same swaps as the tables: none lost, none twice, each in its order?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.code.chronicle import Life, Told, lives, publications
from bareflow_gdb.guest.code.events import SWAP_EVENTS
from bareflow_gdb.guest.code.functions import Version

_ORDER = ("emit", "publish", "first_execution", "retire", "free")
_NEEDED = {
    "emitted": ("emit",),
    "published": ("emit", "publish"),
    "retired": ("emit", "publish", "retire"),
    "freed": ("free",),
}


def _look(subject: Subject) -> Iterator[Finding]:
    ring = subject.ring
    off = SWAP_EVENTS.intersection(ring.types_off)
    told = lives(subject.swap_events)
    whole = ring.head <= ring.capacity and not ring.dropped and ring.mode != "off" and not off
    under_way = {one.index for one in subject.jit.functions if one.is_being_recorded}
    known = {version.number: version for version in subject.versions}
    for number, life in told.items():
        version = known.get(number)
        if version is None:
            # A table that is full forgets versions that were freed.
            if whole and subject.counters.version_count <= layouts.const("BF_MAX_VERSIONS"):
                yield _finding(f"events tell of version {number}, the version table does not", _said(life.told[-1]))
            continue
        if version.function not in under_way:
            yield from _differs(version, life, whole)
    if whole:
        yield from _untold(subject, told, under_way)
    yield from _chains(subject, whole)


def _untold(subject: Subject, told: dict[int, Life], under_way: set[int]) -> Iterator[Finding]:
    """What the version table says and no event does; all events since the boot are there."""
    for version in subject.versions:
        if version.function in under_way:
            continue
        life = told.get(version.number, Life(version.number))
        needed = [kind for kind in _NEEDED.get(version.state, ()) if kind != "publish" or version.reason != "initial"]
        if version.tsc_first and version.state in ("published", "retired"):
            needed.append("first_execution")
        for kind in needed:
            if not life.of(kind):
                evidence = f"its record says that it is {version.state}"
                yield _finding(f"no event tells of {version.title}: {kind}", evidence)


def _differs(version: Version, life: Life, whole: bool) -> Iterator[Finding]:
    for one in life.told:
        for name, is_told, is_kept in _pairs(version, one):
            if is_told != is_kept:
                evidence = f"{_said(one)} has {name} {is_told:,}, the version table {is_kept:,}"
                yield _finding(f"event and record of {version.title} differ in its {name}", evidence)
    # No event tells that a function's first version is published.
    first = version.reason == "initial" and (life.state, version.state) == ("emitted", "published")
    if life.state and life.state != version.state and not first:
        evidence = f"the last event says {life.state}, the version table {version.state}"
        yield _finding(f"event and record of {version.title} differ in its state", evidence)
    for kind, tsc in (("publish", version.tsc_published), ("first_execution", version.tsc_first)):
        events = life.of(kind)
        if events and not events[-1].has_time(tsc):
            evidence = f"{_said(events[-1])} at TSC {events[-1].event.tsc:,}, the version table has {tsc:,}"
            yield _finding(f"event and record of {version.title} differ in the time of its {kind}", evidence)
    firsts = [(life.of(kind)[0].event.seq, kind) for kind in _in_order(version, life) if life.of(kind)]
    if whole and firsts != sorted(firsts):
        order = ", ".join(kind for _, kind in sorted(firsts))
        yield _finding(f"the events of {version.title} are in a wrong order", f"they tell of {order}")


def _in_order(version: Version, life: Life) -> tuple[str, ...]:
    """The events whose first ones come in this order. One that was put back may have run only then."""
    initial = version.reason == "initial"
    if len(life.of("publish")) <= (0 if initial else 1):
        return _ORDER
    return tuple(kind for kind in _ORDER if kind != "first_execution" and not (initial and kind == "publish"))


def _pairs(version: Version, one: Told) -> Iterator[tuple[str, int, int]]:
    fields = one.fields
    yield "function", one.event.id, version.function
    if "code" in fields:
        yield "code", fields["code"], version.code
        yield "size", fields["size"], version.code_size
    if "crc" in fields:
        yield "CRC", fields["crc"], version.code_crc
    if "entry" in fields:
        yield "entry", fields["entry"], version.entry
    if "new" in fields:
        yield "entry", fields["new"], version.entry
        yield "tier", fields["level"], version.level
        again = word("bf_reason", fields["reason"]) == "rollback"
        yield "reason", int(not again and word("bf_reason", fields["reason"]) != version.reason), 0


def _chains(subject: Subject, whole: bool) -> Iterator[Finding]:
    """Each publishing store replaces what the one before it stored."""
    stores = publications(subject.swap_events)
    for index, told in stores.items():
        if index >= len(subject.functions):
            yield _finding(f"events tell of swaps of function {index}", f"there are {len(subject.functions)}")
            continue
        function = subject.functions[index]
        for before, now in itertools.pairwise(told):
            title = f"{function.name}: version {now.fields['version']}"
            if now.fields["version"] == before.fields["version"]:
                yield _finding(f"{title} was published twice", _said(now))
            elif now.fields["old"] != before.fields["new"]:
                evidence = f"{_said(now)} replaced 0x{now.fields['old']:08x}, not 0x{before.fields['new']:08x}"
                yield _finding(f"{title} did not replace what was published before: a swap is lost", evidence)
        wrong = next((one for one in told if one.fields["slot"] != function.slot), None)
        if wrong is not None:
            evidence = f"{_said(wrong)}: 0x{wrong.fields['slot']:08x}, the pointer is at 0x{function.slot:08x}"
            yield _finding(f"{function.name} was published into a place that is not its code pointer", evidence)
    count = sum(map(len, stores.values()))
    if whole and subject.still and count != subject.counters.swap_count:
        evidence = "each publishing store adds one to the counter, and one event"
        yield _finding(f"{subject.counters.swap_count:,} swaps are counted, {count:,} are in the events", evidence)


def _said(one: Told) -> str:
    return f"event {one.event.seq} ({one.event.type})"


def _finding(what: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        evidence=evidence,
        consequence="a swap is lost or told twice: no account of what ran when can be relied on",
        next_step="`swaps` shows the table's account, a trace (`bareflow trace`) the events",
    )


CHECK = Check("swap_events", "the events of every version against its record, their order and number", (ROOT,), _look)
