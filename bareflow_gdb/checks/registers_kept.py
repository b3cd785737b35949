"""Does JIT code keep its caller's registers? Read off the code: EBX, ESI, EDI written, but not saved before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.absent import Absent
from bareflow_gdb.guest.base.finding import NOTE, Finding
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.jit_code import LARGEST
from bareflow_gdb.guest.names.templates import code_templates

_MOST_TEMPLATES = 32
_MOST_BYTES = 512 << 10
"""That are looked at in all: more code than a kernel makes, and half a second."""


def _look(subject: Subject) -> Iterator[Finding]:
    left = _MOST_BYTES
    try:
        codes = subject.kernel.jit_code(every=True)
    except Absent:
        # Nothing is emitted yet: what it will be made of may lie in the kernel's ELF.
        elf = subject.kernel.elf().path
        if elf is None:
            raise
        yield from _templates(elf)
        return
    for code in codes:
        if not 0 < code.size <= LARGEST:
            continue
        left -= code.size
        if left < 0:
            yield Finding(severity=NOTE, what=f"code after the first {_MOST_BYTES:,} bytes was not looked at")
            return
        data = subject.kernel.memory.read(code.code, code.size, f"code of {code.title}")
        for lost in not_saved(data, code.code):
            yield Finding(
                what=f"{code.title} overwrites {lost.register.upper()}, which belongs to its caller",
                where=f"0x{lost.address:08x}",
                evidence=f"`{lost.instruction}`, and the register is pushed nowhere before it",
                consequence="a count or pointer that its caller keeps there is lost: loops end early or never",
                next_step=f"`disas {code.function}` shows the code; look at the code generator's prologue",
            )


def _templates(elf: Path) -> Iterator[Finding]:
    for template in islice(code_templates(elf), _MOST_TEMPLATES):
        for lost in not_saved(template.code, template.address):
            yield Finding(
                what=f"code made from {template.name} will overwrite {lost.register.upper()} of its caller",
                where=f"0x{lost.address:08x}",
                evidence=f"`{lost.instruction}` in the {len(template.code):,} bytes of code that {elf.name} carries as "
                "data, and the register is pushed nowhere before it",
                consequence="a count or pointer that a caller keeps there is lost: counts stand still, loops never end",
                next_step=f"`disas 0x{template.address:x}` of a running guest shows it; save the register in it",
            )


CHECK = Check("registers_kept", "callee-saved registers in JIT code", (KERNEL,), _look)
