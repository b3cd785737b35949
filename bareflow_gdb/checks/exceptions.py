"""Did the guest take an exception, and does its record agree with the code where it happened?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding

# Instructions that can take one exception only, by their first bytes (Intel SDM volume 2).
_ONLY = {
    b"\x0f\x0b": (6, "#UD"),
    b"\x0f\xb9": (6, "#UD"),
    b"\x0f\xff": (6, "#UD"),
    b"\xcc": (3, "#BP"),
    b"\xce": (4, "#OF"),
}
_TRAPS = (3, 4)


def _look(subject: Subject) -> Iterator[Finding]:
    record = subject.exception
    if not record.count:
        return
    eip = record.registers.eip
    yield Finding(
        what=f"the guest took {record.name}",
        where=f"0x{eip:08x}",
        evidence=f"{record.count:,} exceptions are recorded",
        consequence="the kernel stops for good at an exception",
        next_step=f"`exception` shows the registers, `identify 0x{eip:x}` what runs there",
    )
    yield from contradiction(subject, eip, record.vector, "the exception record")


def contradiction(subject: Subject, eip: int, vector: int, who: str) -> Iterator[Finding]:
    """What `who` says against the instruction there, when that can only take one exception."""
    try:
        code = subject.kernel.memory.read(eip, 2, "code at the exception")
    except BareflowError:
        return
    for start, (right, name) in _ONLY.items():
        if code.startswith(start) and right not in _TRAPS and vector != right:
            yield Finding(
                what=f"{who} contradicts the code",
                where=f"0x{eip:08x}",
                evidence=f"it says vector {vector}; the instruction {start.hex(' ')} there can only take {name}",
                consequence="the vector, and so the cause that is shown, is wrong",
                next_step=f"`disas 0x{eip:x}` shows the instruction; look at the kernel's exception entry",
            )


CHECK = Check("exceptions", "the exception record, and the instruction that it names", (ROOT,), _look)
