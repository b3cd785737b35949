"""Did the boot loader give up? It prints a code through the BIOS, and stops before any kernel runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import MEMORY, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.boot.boot import gave_up, stage_of

_SAID = re.compile(r"FATAL ERROR: 0x([0-9A-Fa-f]{2})\b")


def _look(subject: Subject) -> Iterator[Finding]:
    if stage_of(subject.kernel.memory):
        # Its boot record tells it, and more.
        return
    found = _SAID.search(subject.shown or "")
    if found is not None:
        yield Finding(
            what=gave_up(int(found[1], 16)),
            where="the screen",
            evidence=f"it says {found[0]!r}",
            consequence="no kernel runs",
            next_step="`screen` shows all of it",
        )


CHECK = Check("loader_said", "what a boot loader without a boot record printed when it gave up", (MEMORY,), _look)
