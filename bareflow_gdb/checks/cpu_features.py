"""Has the kernel instructions that its CPU is not set up for? SSE without CR4.OSFXSR is an invalid opcode."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import REGISTERS, ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.code_diff import disassembler

_OSFXSR = 1 << 9
_MOVES = re.compile(rb"\x0f[\x10\x11\x28\x29\x57]")
"""movups, movaps, xorps: what compilers fill and copy with (Intel SDM volume 2)."""
_BY_CHANCE = 40
_LARGEST = 1 << 19


def _look(subject: Subject) -> Iterator[Finding]:
    root = subject.kernel.root
    if root is None or subject.registers.control["cr4"] & _OSFXSR:
        return
    code = subject.kernel.memory.read(root.image_base, min(root.image_bytes, _LARGEST), "kernel image")
    suspects = [found.start() for found in _MOVES.finditer(code)]
    if len(suspects) < _BY_CHANCE:
        return
    decoded = (next(disassembler(32).disasm_lite(code[at : at + 12], root.image_base + at), None) for at in suspects)
    real = [one for one in decoded if one is not None and "xmm" in one[3]]
    if len(real) >= _BY_CHANCE:
        address, _, mnemonic, operands = real[0]
        yield Finding(
            what="the kernel is compiled with SSE, and SSE is off",
            where=f"{len(real)} instructions, the first at 0x{address:08x}",
            evidence=f"`{mnemonic} {operands}`; CR4.OSFXSR is 0",
            consequence="each of them is an invalid opcode (#UD), also in the exception handler itself",
            next_step="compile with -march=i686 -mno-sse -mno-mmx, or have the kernel set CR4.OSFXSR",
        )


CHECK = Check("cpu_features", "SSE instructions in the kernel's image against CR4", (ROOT, REGISTERS), _look)
