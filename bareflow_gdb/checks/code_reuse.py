"""Was code memory used again only when nothing could run there any more? (A pointer that comes back: ABA.)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.events import Event


@dataclass
class _Buffer:
    number: int
    function: int
    start: int
    size: int
    published: bool = False


def _look(subject: Subject) -> Iterator[Finding]:
    subject.ring  # noqa: B018 - a kernel without one says so
    there: dict[int, _Buffer] = {}
    for event in subject.swap_events:
        fields = event.fields()
        number = fields.get("version", 0)
        if event.type == "emit":
            new = _Buffer(number, event.id, fields["code"], fields["size"])
            for old in there.values():
                if old.start < new.start + new.size and new.start < old.start + old.size:
                    yield _over(subject, old, new, event)
            there[number] = new
        elif event.type == "publish":
            for one in there.values():
                if one.function == event.id:
                    one.published = one.number == number
        elif event.type == "free":
            freed = there.pop(number, None)
            if freed is not None and freed.published:
                yield _finding(
                    f"{_title(subject, freed)} was freed while it was published",
                    f"event {event.seq}",
                    "no event says that it was replaced before",
                )


def _over(subject: Subject, old: _Buffer, new: _Buffer, event: Event) -> Finding:
    return _finding(
        f"{_title(subject, new)} was written over {_title(subject, old)}, which was not freed",
        f"0x{new.start:08x}",
        f"event {event.seq} (emit): {new.size:,} bytes at 0x{new.start:08x}, the other has {old.size:,} at "
        f"0x{old.start:08x}",
    )


def _title(subject: Subject, buffer: _Buffer) -> str:
    version = next((one for one in subject.versions if one.number == buffer.number), None)
    if version is not None:
        return version.title
    known = buffer.function < len(subject.functions)
    name = subject.functions[buffer.function].name if known else f"function {buffer.function}"
    return code_name(name, 0, buffer.number).replace("@O0", "")


def _finding(what: str, where: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        where=where,
        evidence=evidence,
        consequence="who still has the old address runs other code, and comparing the pointer does not tell",
        next_step="`pools` and `jit` show blocks and versions; free code only when it is retired, at a safe point",
    )


CHECK = Check("code_reuse", "code memory that is written again, by the events", (ROOT,), _look)
