"""Is address line A20 on? Without it every odd megabyte is the one below it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import REGISTERS, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding

_A20 = re.compile(r"\bA20=([01])\b")
_PROTECTED = 1


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.asking_stops or not subject.registers.control["cr0"] & _PROTECTED:
        return
    try:
        found = _A20.search(subject.kernel.memory.monitor("info registers"))
    except BareflowError:
        # A core has the registers without the line.
        return
    if found is None or found[1] == "1":
        return
    yield Finding(
        what="address line A20 is off",
        where=f"EIP 0x{subject.registers.general['eip']:08x}",
        evidence="the CPU is in protected mode, and QEMU reports A20=0",
        consequence="what is stored from 1 MiB on lands at address 0: vectors, boot record and loader are overwritten",
        next_step="let the loader turn A20 on, and compare 0x500 with 0x100500 before it goes on",
    )


CHECK = Check("a20_line", "address line A20, once the CPU is in protected mode", (REGISTERS,), _look)
