"""Is an interrupt table loaded? Without one any exception resets the machine."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import CORE, KERNEL, REGISTERS, Subject
from bareflow_gdb.guest.base.finding import NOTE, WARNING, Finding
from bareflow_gdb.guest.machine.cpu import no_idt


def _look(subject: Subject) -> Iterator[Finding]:
    lacks = no_idt(subject.registers)
    if lacks is None:
        return
    yield Finding(
        # A kernel that has done nothing yet may still load it.
        severity=WARNING if _is_late(subject) else NOTE,
        what=lacks.what,
        where=f"EIP 0x{subject.registers.general['eip']:08x}",
        evidence=lacks.evidence,
        consequence=lacks.consequence,
        next_step="`cpu` shows the descriptor tables; let the kernel load an IDT before anything can fault",
    )


def _is_late(subject: Subject) -> bool:
    stock = subject.stock
    if stock is None:
        return subject.boot.stage_number >= CORE
    return stock.places.halted() or stock.status().stage not in ("loaded", "pools")


CHECK = Check("interrupt_table", "the register of the interrupt table", (KERNEL, REGISTERS), _look)
