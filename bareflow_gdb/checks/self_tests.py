"""Did the kernel's self-tests pass? Pools, micro-JIT, C++ run-time, disk and modules print each result."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import SERIAL, Subject
from bareflow_gdb.guest.base.finding import Finding

_FAILED = re.compile(r"\bFAILED\b|\[FAIL\]")
MOST = 10


def _look(subject: Subject) -> Iterator[Finding]:
    failed = [(number, line.strip()) for number, line in enumerate(subject.log.splitlines(), 1) if _FAILED.search(line)]
    for number, line in failed[:MOST]:
        yield Finding(
            what="a self-test of the kernel failed",
            where=f"line {number} of its output",
            evidence=repr(line),
            consequence="what it tests cannot be relied on in this run",
            next_step="`serial` shows the lines before it",
        )
    if len(failed) > MOST:
        yield Finding(what=f"{len(failed) - MOST} self-tests more failed", next_step="`serial` shows them")


CHECK = Check("self_tests", "the results of the kernel's own tests, as it printed them", (SERIAL,), _look)
