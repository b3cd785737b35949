"""Has the kernel instructions that its CPU is not set up for?

Without CR4.OSFXSR those of SSE and AVX are invalid opcodes, without CR4.OSXSAVE those of AVX.
"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import REGISTERS, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.vector_code import vector_instructions
from bareflow_gdb.qemu.image import SECTOR, read_image_header

_OSFXSR, _OSXSAVE = 1 << 9, 1 << 18
_LARGEST = 1 << 19


def _look(subject: Subject) -> Iterator[Finding]:
    cr4 = subject.registers.control["cr4"]
    has_sse, has_avx = bool(cr4 & _OSFXSR), bool(cr4 & _OSXSAVE)
    # A kernel that has switched SSE on is looked at where its image is a file: of a stub it would cost packets.
    if has_sse and (has_avx or subject.machine is None):
        return
    base, code = _image(subject)
    found = [one for one in vector_instructions(code, base) if not has_sse or _is_avx(one[1])]
    if found:
        address, text = found[0]
        lacks, bit = ("SSE", "OSFXSR") if not has_sse else ("AVX", "OSXSAVE")
        yield Finding(
            what=f"the kernel is compiled with {'AVX' if _is_avx(text) else 'SSE'}, and {lacks} is off",
            where=f"{len(found)} instructions, the first at 0x{address:08x}",
            evidence=f"`{text}`; CR4.{bit} is 0",
            consequence="each of them is an invalid opcode (#UD), also in the exception handler itself",
            next_step=f"compile with -march=i686 -mno-sse -mno-mmx, or have the kernel set CR4.{bit}",
        )


def _is_avx(text: str) -> bool:
    return text.startswith("v")


def _image(subject: Subject) -> tuple[int, bytes]:
    """The kernel's image: what a machine boots from, which nothing writes over; else what is in memory."""
    base = layouts.const("BF_IMAGE_BASE")
    if subject.machine is not None:
        disk = read_image_header(subject.machine.image)
        with subject.machine.image.open("rb") as file:
            file.seek(layouts.const("BF_IMAGE_LBA") * SECTOR)
            return base, file.read(min(disk.image_bytes, _LARGEST))
    root = subject.kernel.root
    size = 0 if root is None else min(root.image_bytes, _LARGEST)
    return base, subject.kernel.memory.read(base, size, "kernel image")


CHECK = Check("cpu_features", "SSE and AVX instructions in the kernel's image against CR4", (REGISTERS,), _look)
