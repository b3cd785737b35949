"""Which code has the suite put into a function of a stock kernel, and how is that taken back?

Such code lies at the end of the function's own buffer, each piece below the one before it, and the buffer's capacity,
as the kernel knows it, ends where the newest begins. A record before each piece says what it replaced: it is in guest
memory, so that every program knows it, and a core too.
Read budget: 1 packet for each piece, and only for functions that run none of their levels' code.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import Memory

MAGIC = b"BFIN"
ALIGNMENT = 16
_RECORD = struct.Struct("<4s11I")
RECORD_BYTES = _RECORD.size
_MOST = 64
"""Pieces in one buffer."""
_LARGEST = 64 << 10


@dataclass(frozen=True)
class Installed:
    """One piece of code from the host, by the record before it."""

    number: int
    """Counted from 1, for each buffer."""
    level: int
    slot: Address
    """Of the function that it was made for."""
    code: Address
    code_size: int
    size: int
    """Of code and read-only data."""
    entry: Address
    crc: int
    """CRC-32 of these bytes."""
    replaced: Address
    """What the code pointer led to before."""
    replaced_size: int
    replaced_crc: int
    capacity: int
    """Of the buffer, before."""

    @property
    def record(self) -> Address:
        """Where its record is."""
        return Address(self.code - RECORD_BYTES)

    def encoded(self) -> bytes:
        """The record."""
        return _RECORD.pack(
            MAGIC,
            *(self.number, self.level, self.slot, self.code_size, self.size, self.entry - self.code, self.crc),
            *(self.replaced, self.replaced_size, self.replaced_crc, self.capacity),
        )

    def is_whole(self, memory: Memory) -> bool:
        """Are its bytes still those that were written? Raises ReadError."""
        return zlib.crc32(memory.read(self.code, self.size, "installed code")) == self.crc


def read_installed(memory: Memory, buffer: int, capacity: int, slot: int) -> tuple[Installed, ...]:
    """What lies behind the capacity of a function's buffer, the newest first; empty where nothing was installed."""
    found: list[Installed] = []
    while len(found) < _MOST:
        try:
            data = memory.read(buffer + capacity, RECORD_BYTES, "record of installed code")
        except ReadError:
            break
        one = _decoded(data, buffer, capacity, slot)
        if one is None or (found and one.number >= found[-1].number):
            break
        found.append(one)
        capacity = one.capacity
    return tuple(found)


def _decoded(data: bytes, buffer: int, capacity: int, slot: int) -> Installed | None:
    """None when it is no such record, or what it says cannot be."""
    magic, number, level, at, code_size, size, entry, crc, replaced, replaced_size, replaced_crc, before = (
        _RECORD.unpack(data)
    )
    code = buffer + capacity + RECORD_BYTES
    right = magic == MAGIC and at == slot and 0 < number <= _MOST and level <= 3
    if not right or not entry < code_size <= size or not capacity + RECORD_BYTES + size <= before <= _LARGEST:
        return None
    return Installed(
        number=number,
        level=level,
        slot=Address(at),
        code=Address(code),
        code_size=code_size,
        size=size,
        entry=Address(code + entry),
        crc=crc,
        replaced=Address(replaced),
        replaced_size=min(replaced_size, _LARGEST),
        replaced_crc=replaced_crc,
        capacity=before,
    )
