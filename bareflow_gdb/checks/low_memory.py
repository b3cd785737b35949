"""Are the BIOS's interrupt vectors as it left them? What stores at small addresses overwrites them first."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base

_BYTES = 0x400
_ROM = 0x8000
"""Segments from here on are of ROMs, or of the data that the BIOS keeps at the end of the first 640 KiB."""
_FEW = 8
"""So many vectors are one stray structure."""
_SAME = 32
"""So many bytes of the kernel's image are there by no chance."""


def _look(subject: Subject) -> Iterator[Finding]:
    memory = subject.kernel.memory
    data = memory.read(0, _BYTES, "interrupt vectors of real mode")
    if not any(data):
        # No BIOS ran: a kernel that a tool loaded, or the file of one.
        return
    vectors = list(enumerate(struct.iter_unpack("<HH", data)))
    wrong = [
        (number, offset, segment)
        for number, (offset, segment) in vectors
        if 0 < segment < _ROM or (offset and not segment)
    ]
    if not wrong or _is_a_table(subject):
        return
    number, offset, segment = wrong[0]
    copied = _image_offset(subject, data)
    yield Finding(
        what=f"the BIOS's interrupt vectors are overwritten: {_why(copied, len(wrong))}",
        where=f"0x{4 * number:08x}",
        evidence=f"{len(wrong)} of 256 vectors lead to no ROM, first 0x{number:02x}: {segment:04x}:{offset:04x}"
        + (f"; the bytes are those of the image at offset 0x{copied:x}" if copied is not None else ""),
        consequence="the next BIOS call jumps there, and what stored them is lost where it should be"
        if copied is None
        else "each BIOS call after it is lost, and that part of the kernel is missing",
        next_step="look for a loader's fallback whose buffer is 0 (ES:BX of INT 13h)"
        if copied is not None
        else "look for a store through a null pointer, or a module that is linked at 0 and not relocated: `bf watch`",
    )


def _why(copied: int | None, count: int) -> str:
    if copied is not None:
        return "the kernel's image was loaded to address 0"
    return "a store through a null pointer" if count <= _FEW else "something stores at addresses that count from 0"


def _is_a_table(subject: Subject) -> bool:
    """Has the kernel its own interrupt table there?"""
    try:
        table = subject.registers.segments["idt"]
    except BareflowError:
        return False
    return table.base < _BYTES and table.limit != _BYTES - 1 and bool(subject.registers.control["cr0"] & 1)


def _image_offset(subject: Subject, data: bytes) -> int | None:
    """Where in the kernel's image these bytes are; None = they are not of it."""
    memory = subject.kernel.memory
    base = kernel_base(memory) or USUAL
    try:
        image = memory.read(base, layouts.const("BF_IMAGE_MAX_SECTORS") * 512, "kernel image")
    except BareflowError:
        return None
    for start in range(0, _BYTES, _SAME):
        part = data[start : start + _SAME]
        if len(set(part)) > _SAME // 4 and (at := image.find(part)) >= 0:
            return at
    return None


CHECK = Check("low_memory", "the interrupt vectors of real mode, which a kernel leaves alone", (KERNEL,), _look)
