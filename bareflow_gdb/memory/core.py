"""Reads an ELF core of the machine, as QMP `dump-guest-memory` writes it: ELF64, machine i386.

One PT_LOAD per range of RAM, screen memory and ROM; one note per CPU. Format of the register notes:
`QEMUCPUState` of QEMU's target/i386/arch_dump.c.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.memory.cpu import CONTROL, CpuRegisters, SegmentRegister
from bareflow_gdb.memory.dump import map_file
from bareflow_gdb.memory.elf_damage import elf_damage
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, SCREEN_BYTES, CheckedMemory

GENERAL = ("eax", "ebx", "ecx", "edx", "esi", "edi", "esp", "ebp")
SELECTORS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
NOTE_LIMIT = 1 << 20
# PCI memory begins above any RAM that this machine can have.
RAM_LIMIT = 0xC0000000
# QEMU's standard video card.
VIDEO_BYTES = 16 << 20


@dataclass(frozen=True)
class _Segment:
    start: int
    end: int
    offset: int


class ElfCore(CheckedMemory):
    """A core of the whole machine. Raises BadData when the file is another ELF, or truncated."""

    name = "ELF core"

    def __init__(self, path: Path) -> None:
        from elftools.elf.elffile import ELFFile

        self.path = path
        self._map = map_file(path)
        try:
            with path.open("rb") as file:
                elf = ELFFile(file)
                check_kind(path, elf.header["e_type"], elf.header["e_machine"])
                headers = [segment.header for segment in elf.iter_segments()]
        except elf_damage() as error:
            raise BadData(
                f"{path} is not a readable ELF core ({error}); make a new one with `bareflow core`"
            ) from error
        self._segments = self._loads(headers)
        self._screen_at = next((h["p_offset"] for h in headers if _is_video(h)), None)
        if not self._segments:
            raise BadData(f"{path} holds no RAM; make a new core with `bareflow core`")
        super().__init__((part.start, part.end) for part in self._segments)
        self.registers = self._registers(headers)

    def _loads(self, headers: list[Any]) -> list[_Segment]:
        found = []
        for header in headers:
            if header["p_type"] != "PT_LOAD" or header["p_paddr"] >= RAM_LIMIT:
                continue
            start, size, offset = header["p_paddr"], header["p_filesz"], header["p_offset"]
            if offset + size > len(self._map):
                raise BadData(
                    f"{self.path} is truncated: it has {len(self._map)} bytes and needs {offset + size};"
                    " make a new core with `bareflow core`"
                )
            end = start + size
            # 0xA0000-0xFFFFF is screen and ROM, which no decoder reads.
            for low, high in ((start, min(end, DEVICES_START)), (max(start, DEVICES_END), end)):
                if low < high:
                    found.append(_Segment(low, high, offset + low - start))
        return sorted(found, key=lambda part: part.start)

    def _fetch(self, address: int, size: int) -> bytes:
        for part in self._segments:
            if part.start <= address and address + size <= part.end:
                at = part.offset + address - part.start
                return self._map[at : at + size]
        raise Unreachable("the core does not hold it")

    def screen(self) -> bytes:
        """The text on the screen, out of the video card's own memory (QEMU's hw/display/vga.c).

        In text mode it has four planes, interleaved by bytes: characters in plane 0, attributes in plane 1.
        """
        if self._screen_at is None:
            return super().screen()
        planes = self._map[self._screen_at : self._screen_at + 2 * SCREEN_BYTES]
        if len(planes) < 2 * SCREEN_BYTES or not any(planes):
            return super().screen()
        return b"".join(planes[at : at + 2] for at in range(0, len(planes), 4))

    def cpu(self) -> CpuRegisters:
        if not self.registers:
            raise Unreachable(f"{self.path} has no registers; make a new core with `bareflow core`")
        return self.registers[0]

    def _registers(self, headers: list[Any]) -> tuple[CpuRegisters, ...]:
        for header in headers:
            if header["p_type"] == "PT_NOTE":
                start, size = header["p_offset"], min(header["p_filesz"], NOTE_LIMIT)
                return tuple(_cpu(body) for name, body in _notes(self._map[start : start + size]) if name == b"QEMU")
        return ()


def _is_video(header: Any) -> bool:
    return bool(header["p_type"] == "PT_LOAD" and header["p_paddr"] >= RAM_LIMIT and header["p_filesz"] == VIDEO_BYTES)


def check_kind(path: Path, kind: str, machine: str) -> None:
    """Raises BadData, with what the file is instead, unless it is a core of an i386 machine."""
    if kind != "ET_CORE":
        what = {"ET_EXEC": "a program", "ET_REL": "an object file", "ET_DYN": "a shared object"}.get(kind, "an ELF")
        raise BadData(f"{path} is {what}, not a core; make a core with `bareflow core`")
    if machine != "EM_386":
        raise BadData(f"{path} is a core of machine {machine}, not i386; make one with `bareflow core`")


def _notes(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    at = 0
    while at + 12 <= len(data):
        name_size, body_size, _ = struct.unpack_from("<III", data, at)
        name_at = at + 12
        body_at = name_at + (name_size + 3 & ~3)
        if body_at + body_size > len(data):
            raise BadData("the core's register notes are damaged; make a new core with `bareflow core`")
        found.append((data[name_at : name_at + name_size].rstrip(b"\0"), data[body_at : body_at + body_size]))
        at = body_at + (body_size + 3 & ~3)
    return found


def _cpu(body: bytes) -> CpuRegisters:
    """QEMUCPUState version 1: u32 version, u32 size, 18 u64, 10 segments of 24 bytes, 5 u64."""
    needed = struct.Struct("<II18Q" + "IIIIQ" * len(SELECTORS) + "5Q")
    if len(body) < needed.size:
        raise BadData("the core's register note is too short; make a new core with `bareflow core`")
    values = needed.unpack_from(body)
    segments = {
        name: SegmentRegister(selector=values[at], base=values[at + 4], limit=values[at + 1])
        for name, at in zip(SELECTORS, range(20, 70, 5), strict=True)
    }
    return CpuRegisters(
        general=dict(zip((*GENERAL, "eip", "eflags"), values[2:10] + values[18:20], strict=True)),
        segments=segments,
        control={name: values[70 + int(name[-1])] for name in CONTROL},
    )
