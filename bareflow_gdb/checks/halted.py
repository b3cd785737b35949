"""Where is the CPU: halted for good, in the BIOS, or elsewhere than the boot record says?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, REGISTERS, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import NOTE, Finding
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.boot.boot_code import is_bios
from bareflow_gdb.guest.machine.cpu import no_idt

_INTERRUPTS_ON, _PROTECTED = 1 << 9, 1
_HLT = b"\xf4"


def _look(subject: Subject) -> Iterator[Finding]:
    registers = subject.registers
    linear = registers.linear_eip
    if subject.stock is not None:
        yield from _stock(subject, linear)
        return
    if subject.lacks(KERNEL) and not stage_of(subject.kernel.memory):
        # Neither a kernel nor a loader of ours: what runs there may halt as it likes.
        return
    stage = subject.boot.stage_number
    up = stage >= layouts.const("BF_STAGE_KERNEL")
    if up and (not registers.control["cr0"] & _PROTECTED or is_bios(linear)):
        yield Finding(
            what=f"the boot record says {subject.boot.stage}, and the CPU is in the BIOS",
            where=f"0x{linear:08x}",
            evidence=f"CR0 0x{registers.control['cr0']:08x}",
            consequence="the machine was reset after that kernel ran; its tables are what is left of it",
            next_step="`serial` shows how often it booted; `run --paused` and `bf break-boot kernel` stop it early",
        )
    elif up and not registers.general["eflags"] & _INTERRUPTS_ON and _halts(subject, linear):
        bad = subject.boot.stage != "halted" and subject.kernel.root is not None and not _said(subject)
        yield Finding(
            **({} if bad else {"severity": NOTE}),
            what="the CPU has halted for good",
            where=f"0x{linear:08x}",
            evidence="it stands behind `hlt` with interrupts off",
            consequence="nothing that is waited for will come",
            next_step=f"`identify 0x{linear:x}` says in which function, `exception` and `serial` why",
        )


def _stock(subject: Subject, linear: int) -> Iterator[Finding]:
    """A stock kernel keeps no boot record; at the end of its run it halts."""
    if subject.registers.general["eflags"] & _INTERRUPTS_ON or not _halts(subject, linear):
        return
    name = subject.kernel.identify(linear)
    lacks = no_idt(subject.registers)
    yield Finding(
        severity=NOTE,
        what="the CPU has halted for good",
        where=f"{name.name}+0x{linear - name.start:x}" if name.name else f"0x{linear:08x}",
        evidence=f"it stands behind `hlt` with interrupts off{f', {lacks.what}' if lacks else ''}",
        consequence="nothing that is waited for will come",
        next_step="`stack` shows how it came there, `screen` and `serial` what it said last",
    )


def _said(subject: Subject) -> bool:
    """Did it say that it halts? An application that is done does."""
    return (subject.printed or "").rstrip().endswith("System halted.")


def _halts(subject: Subject, linear: int) -> bool:
    try:
        return subject.kernel.memory.read(linear - 1, 1, "code before EIP") == _HLT
    except BareflowError:
        return False


CHECK = Check("halted", "where the CPU is, against the boot record", (REGISTERS,), _look)
