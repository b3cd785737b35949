"""Do interrupts come so often that nothing else runs, or is one never acknowledged, so that no other comes?"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, MACHINE, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.machine.irq import LINES
from bareflow_gdb.qemu.machine import Machine

_COUNT = re.compile(r"^\s*(\d+): (\d+)\s*$", re.MULTILINE)
_PICS = "isa-i8259"
_BYTE = r"=([0-9a-f]{2})\b"
_PIC = re.compile(rf"^pic([01]): irr{_BYTE} imr{_BYTE} isr{_BYTE}.* elcr{_BYTE}", re.MULTILINE)
_ASKS, _SERVED = "asks", "served"
_LOOKS, _FEWEST_SERVED = 40, 2
_MOMENT_SECONDS, _MOST_PER_SECOND = 0.05, 20_000
"""A timer that ticks 1,000 times a second is quick already; a line that is never quiet comes 50,000 times. QEMU counts
how often a line rises: one that is triggered by its level, and stays up, is counted once."""


def _look(subject: Subject) -> Iterator[Finding]:
    machine = subject.machine
    assert machine is not None
    if machine.status() != "running":
        return
    before, since = _counts(machine), time.monotonic()
    time.sleep(_MOMENT_SECONDS)
    after, seconds = _counts(machine), time.monotonic() - since
    for line, count in after.items() if before else ():
        rate = (count - before.get(line, 0)) / seconds
        if rate > _MOST_PER_SECOND:
            yield Finding(
                what=f"an interrupt storm: line {line} ({LINES[line]}) comes {rate:,.0f} times a second",
                where=f"IRQ {line}",
                evidence=f"QEMU counts {count - before.get(line, 0):,} of it in {seconds:.2f} s",
                consequence="the kernel does little else than take it",
                next_step="look at what the handler reads or writes to quiet its device, and at the timer's divisor; "
                "`irq` shows the lines",
            )
    yield from _never_quiet(machine)


def _never_quiet(machine: Machine) -> Iterator[Finding]:
    """Lines triggered by level that ask in every look, though their interrupts are taken in between."""
    always, served = _levels_of(machine.monitor("info pic"), _ASKS), dict.fromkeys(range(len(LINES)), 0)
    for _ in range(_LOOKS if always else 0):
        text = machine.monitor("info pic")
        always &= _levels_of(text, _ASKS)
        for line in _levels_of(text, _SERVED):
            served[line] += 1
        if not always:
            return
    for line in sorted(always):
        if _FEWEST_SERVED <= served[line] < _LOOKS:
            yield Finding(
                what=f"an interrupt storm: line {line} ({LINES[line]}) is never quiet, and comes again at once",
                where=f"IRQ {line}",
                evidence=f"it is triggered by its level, and asked in each of {_LOOKS} looks, of which "
                f"{served[line]} found its handler at work",
                consequence="the kernel does little else than take it",
                next_step="look at what the handler reads or writes to quiet its device, before it tells the PIC that "
                "it is done; `irq` shows the lines",
            )


def _levels_of(text: str, which: str) -> set[int]:
    """The lines that are triggered by their level, not masked, and ask, or are served."""
    found: set[int] = set()
    for number, *words in _PIC.findall(text):
        asks, masked, in_service, by_level = (int(word, 16) for word in words)
        bits = (asks if which == _ASKS else in_service) & ~masked & by_level
        found |= {8 * int(number) + bit for bit in range(8) if bits >> bit & 1}
    return found


def _counts(machine: Machine) -> dict[int, int]:
    """Interrupts by line, of both PICs: the second one counts its own from 0."""
    text = machine.monitor("info irq")
    found: dict[int, int] = {}
    for number, part in enumerate(text.split(_PICS)[1:3]):
        for line, count in _COUNT.findall(part):
            if int(line) < 8:
                key = int(line) + 8 * number
                found[key] = max(found.get(key, 0), int(count))
    return {line: count for line, count in found.items() if line < len(LINES)}


CHECK = Check(
    "interrupt_storm", "how often each interrupt line comes, of a machine that runs", (KERNEL, MACHINE), _look
)
