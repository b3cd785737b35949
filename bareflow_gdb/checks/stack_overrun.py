"""Has the stack left its room?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL_UP, REGISTERS, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import WARNING, Finding


def _look(subject: Subject) -> Iterator[Finding]:
    esp = subject.registers.segments["ss"].base + subject.registers.general["esp"] & 0xFFFFFFFF
    bottom, top = layouts.const("BF_STACK_BOTTOM"), layouts.const("BF_STACK_TOP")
    if not bottom <= esp <= top:
        yield Finding(
            what="the stack has run over" if esp < bottom else "ESP is above the stack",
            where=f"ESP 0x{esp:08x}",
            evidence=f"the stack is 0x{bottom:08x}-0x{top:08x}",
            consequence="it overwrites what lies below: the kernel's tables and code",
            next_step="`stack` shows what is known of the callers; look for recursion, or an exception in its handler",
        )
        return
    if subject.reads_cost:
        return
    try:
        problems = subject.kernel.stack().problems
    except BareflowError:
        return
    for text in problems:
        yield Finding(
            severity=WARNING,
            what=text,
            where=f"0x{bottom:08x}",
            evidence=f"the stack is 0x{bottom:08x}-0x{top:08x}, ESP is 0x{esp:08x} by now",
            consequence="what lies below was overwritten, perhaps: the kernel's .bss, its tables",
            next_step="`stack` shows how deep it was; look for recursion and large locals",
        )


CHECK = Check("stack_overrun", "ESP against the room of the stack", (KERNEL_UP, REGISTERS), _look)
