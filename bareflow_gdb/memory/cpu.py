"""What do the CPU's registers hold? One record, whether QEMU's monitor or a core tells it.

A gdbstub's own register packets carry no descriptor-table registers, so QEMU's `info registers` is asked instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bareflow_gdb.errors import BadData

GENERAL = ("eip", "eflags", "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
CONTROL = ("cr0", "cr2", "cr3", "cr4")
_SEGMENT = re.compile(r"^(ES|CS|SS|DS|FS|GS|LDT|TR) *= *([0-9a-f]+) +([0-9a-f]+) +([0-9a-f]+)", re.MULTILINE)
_TABLE = re.compile(r"^(GDT|IDT) *= *([0-9a-f]+) +([0-9a-f]+)", re.MULTILINE)
_EFER = re.compile(r"\bEFER *= *([0-9a-f]+)")
_WORD = re.compile(r"\b(E[A-Z]{2}|EFL|CR[0-4]) *= *([0-9a-f]+)")


@dataclass(frozen=True)
class SegmentRegister:
    """A segment or descriptor-table register; the tables' registers have no selector."""

    selector: int
    base: int
    limit: int


@dataclass(frozen=True)
class CpuRegisters:
    """One CPU: `general` with eip and eflags, `segments` with gdt and idt, `control`; names in lower case."""

    general: dict[str, int]
    segments: dict[str, SegmentRegister]
    control: dict[str, int]

    @property
    def linear_eip(self) -> int:
        """Where the next instruction is: EIP from the base of CS, which real mode moves."""
        return self.segments["cs"].base + self.general["eip"] & 0xFFFFFFFF


def _is_long(text: str) -> bool:
    """EFER.LMA: in its compatibility mode too, where code is of 32 bits, the page tables are those of 64-bit mode."""
    found = _EFER.search(text)
    return found is not None and bool(int(found[1], 16) & 1 << 10)


def parse_registers(text: str) -> CpuRegisters:
    """The first CPU of QEMU's `info registers`; raises BadData when it is in 64-bit mode or not that text."""
    words = {name.lower(): int(value, 16) & 0xFFFFFFFF for name, value in reversed(_WORD.findall(text))}
    words["eflags"] = words.pop("efl", 0)
    if "RIP=" in text or _is_long(text):
        raise BadData(
            "the CPU is in 64-bit mode: this is not the CPU of an i386 guest, as every BareFlow kernel is;"
            " ask gdb itself about this one"
        )
    missing = [name for name in (*GENERAL, *CONTROL) if name not in words]
    if missing:
        raise BadData(f"QEMU reports no 32-bit {missing[0]}: this is not the CPU of an i386 guest")
    segments = {
        name.lower(): SegmentRegister(int(selector, 16), int(base, 16), int(limit, 16))
        for name, selector, base, limit in reversed(_SEGMENT.findall(text))
    } | {
        name.lower(): SegmentRegister(0, int(base, 16), int(limit, 16))
        for name, base, limit in reversed(_TABLE.findall(text))
    }
    if not {"cs", "ss", "gdt", "idt"} <= segments.keys():
        raise BadData("QEMU reports no descriptor tables: this is not the CPU of an i386 guest")
    return CpuRegisters(
        general={name: words[name] for name in GENERAL},
        segments=segments,
        control={name: words[name] for name in CONTROL},
    )
