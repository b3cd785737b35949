"""Where is a linear address in physical memory, while paging is on? By the guest's own page tables.

Intel SDM volume 3A, 4.3 (32-bit paging, with 4 MiB pages) and 4.4 (PAE). Records are at physical addresses, what the
CPU executes and pushes is at linear ones; every reader here reads physical memory, and this one looks through it.
"""

from __future__ import annotations

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.protocol import CheckedMemory, Memory

PG, PSE, PAE = 1 << 31, 1 << 4, 1 << 5
_PROTECTED, _PRESENT, _LARGE = 1 << 0, 1 << 0, 1 << 7
_PAGE = 1 << 12
_FRAME = 0x000F_FFFF_FFFF_F000


def is_paged(registers: CpuRegisters) -> bool:
    """Does the CPU translate addresses?"""
    return registers.control["cr0"] & (PG | _PROTECTED) == PG | _PROTECTED


class Linear(CheckedMemory):
    """The memory as code sees it: by linear address, through the tables that CR3 leads to."""

    def __init__(self, memory: Memory, registers: CpuRegisters) -> None:
        super().__init__([(0, 1 << 32)])
        self.name = f"{memory.name} through the page tables"
        self.live = memory.live
        # What reading costs is known to the reader behind.
        self.packets = memory.packets
        self._memory = memory
        self._root = registers.control["cr3"]
        self._flags = registers.control["cr4"]

    def physical(self, address: int) -> int | None:
        """The physical address; None: it is not mapped, or its tables cannot be read."""
        try:
            return self._walk(address)
        except BareflowError:
            return None

    def _walk(self, address: int) -> int | None:
        if self._flags & PAE:
            entry = self._entry(self._root & ~31, address >> 30, 8)
            if not entry & _PRESENT:
                return None
            levels, size = ((21, 9), (12, 9)), 8
        else:
            entry, levels, size = self._root, ((22, 10), (12, 10)), 4
        for shift, bits in levels:
            entry = self._entry(entry & _FRAME, address >> shift & (1 << bits) - 1, size)
            if not entry & _PRESENT:
                return None
            if shift > 12 and entry & _LARGE and (size == 8 or self._flags & PSE):
                high = 0 if size == 8 else (entry >> 13 & 0xFF) << 32
                return (entry & _FRAME & ~((1 << shift) - 1)) + high + (address & (1 << shift) - 1)
        return (entry & _FRAME) + (address & _PAGE - 1)

    def _entry(self, table: int, index: int, size: int) -> int:
        return int.from_bytes(self._memory.read(table + index * size, size, "page table"), "little")

    def _fetch(self, address: int, size: int) -> bytes:
        parts = []
        while size:
            step = min(size, _PAGE - address % _PAGE)
            at = self._walk(address)
            if at is None:
                raise Unreachable(f"0x{address:08x} is not mapped by the page tables (CR3 0x{self._root:08x})")
            parts.append(self._memory.read(at, step, f"page of 0x{address:08x}"))
            address, size = address + step, size - step
        return b"".join(parts)


def seen_by_code(memory: Memory, registers: CpuRegisters | None) -> Memory:
    """The memory by the addresses that code uses: itself without paging, or when nothing is known of the CPU."""
    return Linear(memory, registers) if registers is not None and is_paged(registers) else memory
