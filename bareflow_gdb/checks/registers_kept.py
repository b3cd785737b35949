"""Does JIT code keep its caller's registers? Read off the code: EBX, ESI, EDI written, but not saved before."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.jit_code import IN_MEMORY, LARGEST


def _look(subject: Subject) -> Iterator[Finding]:
    for version in subject.versions:
        if version.state not in IN_MEMORY or not 0 < version.code_size <= LARGEST:
            continue
        title = code_name(version.function_name, version.level, version.number)
        code = subject.kernel.memory.read(version.code, version.code_size, f"code of {title}")
        for lost in not_saved(code, version.code):
            yield Finding(
                what=f"{title} overwrites {lost.register.upper()}, which belongs to its caller",
                where=f"0x{lost.address:08x}",
                evidence=f"`{lost.instruction}`, and the register is pushed nowhere before it",
                consequence="a count or pointer that its caller keeps there is lost: loops end early or never",
                next_step=f"`disas {version.function_name}` shows the code; look at the code generator's prologue",
            )


CHECK = Check("registers_kept", "callee-saved registers in published code", (ROOT,), _look)
