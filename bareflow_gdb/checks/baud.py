"""Does COM1 run at the speed that everybody expects?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding

_CLOCK = 115200


def _look(subject: Subject) -> Iterator[Finding]:
    divisor, wanted = subject.counters.com1_divisor, layouts.const("BF_COM1_DIVISOR")
    if divisor not in (0, wanted):
        yield Finding(
            severity=WARNING,
            what=f"COM1 runs at {_CLOCK // divisor:,} baud",
            evidence=f"the kernel read divisor {divisor} back from the UART; {wanted} is {_CLOCK // wanted:,} baud",
            consequence="on real hardware a terminal at the usual speed shows garbage; emulation hides it",
            next_step="look at the divisor that the kernel's serial driver writes",
        )


CHECK = Check("baud", "the divisor of COM1, as the kernel read it back", (ROOT,), _look)
