"""Reads an ELF core of the machine, as QMP `dump-guest-memory` writes it: ELF64, machine i386.

One PT_LOAD per range of RAM, screen memory and ROM; one note per CPU. Format of the register notes:
`QEMUCPUState` of QEMU's target/i386/arch_dump.c.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.memory.contents import Contents
from bareflow_gdb.memory.cpu import CONTROL, CpuRegisters, SegmentRegister
from bareflow_gdb.memory.elf_damage import elf_damage
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, SCREEN_BYTES, CheckedMemory, Range, merged

GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "esp", "ebp")
SELECTORS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
NOTE_LIMIT = 1 << 20
# PCI memory begins above any RAM that this machine can have.
RAM_LIMIT = 0xC0000000
# QEMU's standard video card.
VIDEO_BYTES = 16 << 20
MOST_SHOWN = 4
MOST_SEGMENTS = 4096

_WITHOUT = "its memory answers the questions that need none of them"


@dataclass(frozen=True)
class _Segment:
    start: int
    end: int
    offset: int


class ElfCore(CheckedMemory):
    """A core of the whole machine or of a part; one that was cut off is read as far as it goes.

    Raises BadData when the file is another ELF, or holds no RAM at all.
    """

    name = "ELF core"

    def __init__(self, path: Path | Contents) -> None:
        self._file = path if isinstance(path, Contents) else Contents(path)
        self.path = self._file.path
        self.notes: list[str] = []
        """What of the machine is not in it, as sentences."""
        headers = self._headers()
        self._by = _address_of(headers, self.notes)
        self._segments = self._loads(headers)
        self._starts = [part.start for part in self._segments]
        self._screen_at = next((h["p_offset"] for h in headers if _is_video(h)), None)
        if not self._segments:
            why = f": {self.notes[0]}" if self.notes else ""
            raise BadData(f"{self.path} holds no RAM{why}; look for a whole copy")
        super().__init__(merged((part.start, part.end) for part in self._segments))
        self.registers = self._registers(headers)

    def _headers(self) -> list[Any]:
        """The program headers, as far as the file has them."""
        from elftools.elf.elffile import ELFFile

        found: list[Any] = []
        try:
            elf = ELFFile(self._file.file)
            check_kind(self.path, elf.header["e_type"], elf.header["e_machine"])
            for segment in islice(elf.iter_segments(), MOST_SEGMENTS):
                found.append(segment.header)
            if elf.num_segments() > MOST_SEGMENTS:
                self.notes.append(f"{self.path} has {elf.num_segments()} segments: only {MOST_SEGMENTS} are read")
        except elf_damage() as error:
            if not found:
                raise BadData(
                    f"{self.path} is not a readable ELF core ({error}): its headers, which say where its memory is,"
                    " are damaged or cut off; look for a whole copy"
                ) from error
            self.notes.append(f"{self.path} is truncated: it ends within its program headers")
        return found

    def _loads(self, headers: list[Any]) -> list[_Segment]:
        """The RAM in the file, no byte of it twice: of headers that overlap the first one tells."""
        found: list[_Segment] = []
        size, needed, missing = self._file.size, 0, []
        for header in headers:
            start, offset = header[self._by], header["p_offset"]
            if header["p_type"] != "PT_LOAD" or start >= RAM_LIMIT:
                continue
            if not header["p_filesz"] and header["p_memsz"]:
                self.notes.append(
                    f"{self.path} was made without 0x{start:08x}-0x{start + header['p_memsz']:08x}, where a model's "
                    "weights were"
                )
                continue
            there = max(0, min(header["p_filesz"], size - offset))
            needed = max(needed, offset + header["p_filesz"])
            if there < header["p_filesz"]:
                missing.append(f"0x{start + there:08x}-0x{start + header['p_filesz']:08x}")
            end = min(start + there, RAM_LIMIT)
            # 0xA0000-0xFFFFF is screen and ROM, which no decoder reads.
            for low, high in ((start, min(end, DEVICES_START)), (max(start, DEVICES_END), end)):
                found += [_Segment(a, b, offset + a - start) for a, b in _uncovered(low, high, found)]
        if missing:
            self.name = "truncated ELF core"
            shown = ", ".join(missing[:MOST_SHOWN]) + (" …" if len(missing) > MOST_SHOWN else "")
            self.notes.append(
                f"{self.path} is truncated: it has {size:,} bytes and needs {needed:,}; of its RAM {shown} is missing"
            )
        return sorted(found, key=lambda part: part.start)

    def _fetch(self, address: int, size: int) -> bytes:
        pieces = []
        while size:
            at = bisect_right(self._starts, address) - 1
            part = self._segments[at]
            if at < 0 or address >= part.end:
                raise Unreachable("the core does not hold it")
            step = min(size, part.end - address)
            pieces.append(self._file.read(part.offset + address - part.start, step))
            address, size = address + step, size - step
        return b"".join(pieces)

    def screen(self) -> bytes:
        """The text on the screen, out of the video card's own memory (QEMU's hw/display/vga.c).

        In text mode it has four planes, interleaved by bytes: characters in plane 0, attributes in plane 1.
        """
        if self._screen_at is None:
            return super().screen()
        planes = self._file.read(self._screen_at, 2 * SCREEN_BYTES)
        if len(planes) < 2 * SCREEN_BYTES or not any(planes):
            return super().screen()
        return b"".join(planes[at : at + 2] for at in range(0, len(planes), 4))

    def cpu(self) -> CpuRegisters:
        if isinstance(self.registers, BadData):
            raise self.registers
        if not self.registers:
            raise Unreachable(f"{self.path} has no registers; {_WITHOUT}")
        return self.registers[0]

    def _registers(self, headers: list[Any]) -> tuple[CpuRegisters, ...] | BadData:
        """Those of each CPU, or what is wrong with them: its memory is worth reading all the same."""
        for header in headers:
            if header["p_type"] == "PT_NOTE":
                data = self._file.read(header["p_offset"], min(header["p_filesz"], NOTE_LIMIT))
                try:
                    return tuple(_cpu(body) for name, body in _notes(data) if name == b"QEMU")
                except BadData as error:
                    return error
        return ()


def _address_of(headers: list[Any], notes: list[str]) -> str:
    """The field that has a segment's address: the physical one, unless whoever wrote the core left it out."""
    loads = [header for header in headers if header["p_type"] == "PT_LOAD"]
    if any(header["p_paddr"] for header in loads) or not any(header["p_vaddr"] for header in loads):
        return "p_paddr"
    notes.append("this core gives no physical addresses: its virtual ones are taken, as if paging were off")
    return "p_vaddr"


def _uncovered(low: int, high: int, parts: list[_Segment]) -> list[Range]:
    """What of [low, high) is in none of the parts."""
    found: list[Range] = []
    inside = ((max(low, part.start), min(high, part.end)) for part in parts if part.start < high and low < part.end)
    for start, end in merged(inside):
        if low < start:
            found.append((low, start))
        low = max(low, end)
    return [*found, (low, high)] if low < high else found


def _is_video(header: Any) -> bool:
    return bool(header["p_type"] == "PT_LOAD" and header["p_paddr"] >= RAM_LIMIT and header["p_filesz"] == VIDEO_BYTES)


def check_kind(path: Path, kind: str, machine: str) -> None:
    """Raises BadData, with what the file is instead, unless it is a core of an i386 machine."""
    if kind != "ET_CORE":
        what = {"ET_EXEC": "a program", "ET_REL": "an object file", "ET_DYN": "a shared object"}.get(kind, "an ELF")
        raise BadData(f"{path} is {what}, not a core; make a core with `bareflow core`")
    if machine != "EM_386":
        raise BadData(
            f"{path} is a core of machine {machine}, not i386: no guest of this suite; `crash` and `drgn` read such"
            " cores, and `bareflow core` makes one of an i386 machine"
        )


def _notes(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 0
    while at + 12 <= len(data):
        name_size, body_size, _ = struct.unpack_from("<III", data, at)
        name_at = at + 12
        body_at = name_at + (name_size + 3 & ~3)
        if body_at + body_size > len(data):
            raise BadData(f"the core's register notes are damaged; {_WITHOUT}")
        found.append((data[name_at : name_at + name_size].rstrip(b"\0"), data[body_at : body_at + body_size]))
        at = body_at + (body_size + 3 & ~3)
    return found


def _cpu(body: bytes) -> CpuRegisters:
    """QEMUCPUState version 1: u32 version, u32 size, 18 u64, 10 segments of 24 bytes, 5 u64."""
    needed = struct.Struct("<II18Q" + "IIIIQ" * len(SELECTORS) + "5Q")
    if len(body) < needed.size:
        raise BadData(f"the core's register note is too short; {_WITHOUT}")
    values = needed.unpack_from(body)
    if any(value >> 32 for value in (*values[2:10], values[18], values[19], *values[70:75])):
        raise BadData("the core's registers have more than 32 bits: this is not the CPU of an i386 guest")
    segments = {
        name: SegmentRegister(selector=values[at], base=values[at + 4], limit=values[at + 1])
        for name, at in zip(SELECTORS, range(20, 70, 5), strict=True)
    }
    return CpuRegisters(
        general=dict(zip((*GENERAL, "eip", "eflags"), values[2:10] + values[18:20], strict=True)),
        segments=segments,
        control={name: values[70 + int(name[-1])] for name in CONTROL},
    )
