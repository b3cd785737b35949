"""Are the event rings whole: header, one record for each number, times that do not go back?"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.boot.boot import need_rings
from bareflow_gdb.guest.code.events import MOST, Ring, read_records, read_ring

_RECORD = struct.Struct("<QIBBH16x")
_WRAP = 1 << 32
_BEHIND = 64
"""A guest that runs overwrites the oldest records meanwhile."""


def _look(subject: Subject) -> Iterator[Finding]:
    root = subject.kernel.need_interface("it keeps no events")
    need_rings(subject.kernel.memory)
    cpus = max(root.cpu_count, 1)
    for index in range(len(root.rings)):
        try:
            ring = read_ring(subject.kernel.memory, root, index)
        except BadData as error:
            yield _finding(str(error), root.rings[index], "")
            continue
        if ring is not None and ring.records:
            yield from _records(subject, ring, cpus)


def _records(subject: Subject, ring: Ring, cpus: int) -> Iterator[Finding]:
    size, most = layouts.size("bf_event"), max(layouts.enum_values("bf_event_type").values())
    first = max(0, ring.head - min(ring.capacity, MOST))
    first += _BEHIND if first and subject.live else 0
    data = read_records(subject.kernel.memory, ring, first, max(0, ring.head - first))
    before, told = 0, 0
    for number in range(first, ring.head):
        tsc, seq, kind, cpu, _ = _RECORD.unpack_from(data, (number - first) * size)
        wrong = ""
        if seq != number % _WRAP:
            wrong = f"it has number {seq:,}"
        elif not 0 < kind <= most:
            wrong = f"it is of type {kind}"
        elif cpu >= cpus:
            wrong = f"it is of CPU {cpu}, there are {cpus}"
        elif tsc < before:
            wrong = f"its TSC {tsc:,} is before that of the event before it, {before:,}"
        if wrong and not told:
            yield _finding(
                f"event {number:,} of ring {ring.index} is damaged",
                ring.records + (number & ring.capacity - 1) * size,
                wrong,
            )
        told += bool(wrong)
        before = max(before, tsc) if not wrong else before
    if told > 1:
        yield _finding(f"{told:,} events of ring {ring.index} are damaged", ring.records, "the first is told above")


def _finding(what: str, where: int, evidence: str) -> Finding:
    return Finding(
        what=what,
        where=f"0x{where:08x}",
        evidence=evidence,
        consequence="events are lost: what they would tell is missing in traces and `swaps`",
        next_step="a watchpoint on the record finds who writes there (`bareflow gdb`, then `watch`)",
    )


CHECK = Check("ring_records", "the headers of the event rings and every record in them", (ROOT,), _look)
