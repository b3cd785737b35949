"""Does JIT code keep its caller's registers? Read off the code: EBX, ESI, EDI written, but not saved before."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.jit_code import LARGEST


def _look(subject: Subject) -> Iterator[Finding]:
    for code in subject.kernel.jit_code(every=True):
        if not 0 < code.size <= LARGEST:
            continue
        data = subject.kernel.memory.read(code.code, code.size, f"code of {code.title}")
        for lost in not_saved(data, code.code):
            yield Finding(
                what=f"{code.title} overwrites {lost.register.upper()}, which belongs to its caller",
                where=f"0x{lost.address:08x}",
                evidence=f"`{lost.instruction}`, and the register is pushed nowhere before it",
                consequence="a count or pointer that its caller keeps there is lost: loops end early or never",
                next_step=f"`disas {code.function}` shows the code; look at the code generator's prologue",
            )


CHECK = Check("registers_kept", "callee-saved registers in JIT code", (KERNEL,), _look)
