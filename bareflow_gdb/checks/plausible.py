"""Can the tables be? A kernel that was written over shows it in its counts; then no other check of them is asked."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.plausible import WRITTEN_OVER


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.implausible:
        yield Finding(
            what=WRITTEN_OVER,
            evidence="; ".join(subject.implausible),
            consequence="no other answer about this kernel can be relied on",
            next_step="`stack` shows whether the stack ran into them, `serial` what was printed last",
        )


CHECK = Check(
    "plausible", "counts and sizes of the kernel's tables against what is possible", (ROOT,), _look, cheap=True
)
