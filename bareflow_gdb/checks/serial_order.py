"""Did the kernel print on COM1 before it had set COM1 up? On real hardware those lines are lost, or garbage."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import SERIAL, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.code.log_lines import FIRST_LINE

_OF_THE_BIOS = re.compile(r"SeaBIOS|iPXE|Booting from|Machine UUID|\x1b|Press |^\s*$")
_OF_A_KERNEL = re.compile(r"\[[A-Za-z0-9-]+\] |^[A-Z][A-Z -]{8,}$")


def _look(subject: Subject) -> Iterator[Finding]:
    head, first, _ = (subject.printed or "").partition(FIRST_LINE)
    lines = [line for line in head.splitlines() if not _OF_THE_BIOS.search(line)]
    said = [line for line in lines if _OF_A_KERNEL.search(line)]
    if not first or not said:
        return
    yield Finding(
        severity=WARNING,
        what="the kernel prints on COM1 before COM1 is set up",
        where=f"{len(lines)} lines before {FIRST_LINE!r}",
        evidence=f"the first is {said[0].strip()!r}",
        consequence="on real hardware they are lost or garbage; emulation sends them all the same",
        next_step="call the serial driver's set-up before anything prints",
    )


CHECK = Check("serial_order", "what was printed before COM1 was set up", (SERIAL,), _look)
