"""Does COM1 run at the speed that everybody expects?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.absent import CANNOT_KNOW, Absent
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.machine.uart import programmed

_CLOCK = 115200
_OF_STOCK_KERNELS = (1, 3)
"""115,200 baud, and the 38,400 of many a tutorial's driver."""


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.stock is not None:
        yield from _by_code(subject)
        return
    divisor, wanted = subject.counters.com1_divisor, layouts.const("BF_COM1_DIVISOR")
    if divisor not in (0, wanted):
        yield _finding(
            divisor, "", f"the kernel read divisor {divisor} back from the UART; {wanted} is {_CLOCK // wanted:,} baud"
        )


def _by_code(subject: Subject) -> Iterator[Finding]:
    from bareflow_gdb.guest.stock.window import Window

    if subject.reads_cost:
        raise Absent("divisor of COM1", CANNOT_KNOW, "the kernel's code is too long for packets")
    window = Window(subject.kernel.memory)
    found = programmed(window.data, window.start)
    if found is None:
        raise Absent("divisor of COM1", CANNOT_KNOW, "no code is found that sets it to a number of its own")
    if found.divisor not in _OF_STOCK_KERNELS:
        usual = " and ".join(f"{_CLOCK // one:,}" for one in _OF_STOCK_KERNELS)
        yield _finding(
            found.divisor,
            f"0x{found.code:08x}",
            f"the code there writes divisor {found.divisor} into the UART; usual are {usual} baud",
        )


def _finding(divisor: int, where: str, evidence: str) -> Finding:
    rate = f"COM1 runs at {_CLOCK // divisor:,} baud" if divisor else "COM1 has divisor 0"
    return Finding(
        severity=WARNING,
        what=rate,
        where=where,
        evidence=evidence,
        consequence="on real hardware a terminal at the usual speed shows garbage; emulation hides it",
        next_step="look at the divisor that the kernel's serial driver writes",
    )


CHECK = Check("baud", "the divisor of COM1, as the kernel read it back, or as its code writes it", (KERNEL,), _look)
