"""How are very many protobuf messages of one shape written? Each field has the same place in all of them.

A number is written with as many bytes as the largest needs, which readers must take: the encoding has no shortest form
(https://protobuf.dev/programming-guides/encoding/). So a message is a row of a matrix, and a field some columns of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

_VARINT, _FIXED64, _BYTES = 0, 1, 2
BITS_32, BITS_63, BITS_64 = 5, 9, 10
"""How many bytes a number of so many bits takes."""


@dataclass(frozen=True)
class Slot:
    """Where a column's number goes: `width` bytes, a varint or 64 bits as they are."""

    column: str
    at: int
    width: int
    fixed: bool = False


@dataclass(frozen=True)
class Shape:
    """The bytes of a message, or of a part of it, with room for the columns."""

    data: bytes
    slots: tuple[Slot, ...] = ()

    def fill(self, count: int, columns: Mapping[str, Numbers]) -> memoryview:
        """`count` messages, one after the other."""
        rows = np.empty((count, len(self.data)), np.uint8)
        rows[:] = np.frombuffer(self.data, np.uint8)
        for slot in self.slots if count else ():
            for at, part in _encoded(columns[slot.column], slot):
                np.ndarray(count, part.dtype, rows, slot.at + at, (len(self.data),))[:] = part
        return rows.data


def _encoded(values: Numbers, slot: Slot) -> Iterator[tuple[int, Numbers]]:
    """The bytes of a slot, as numbers that are stored at these places in it."""
    if slot.fixed:
        yield 0, values.astype("<u8")
    elif slot.width == BITS_32:
        short = values.astype("<u4")
        yield 0, _spread(short & 0x0FFFFFFF, ((14, 0x00003FFF), (7, 0x007F007F))) | 0x80808080
        yield 4, (short >> 28).astype("u1")
    else:
        long = values.astype("<u8")
        steps = ((28, 0x0FFFFFFF), (14, 0x00003FFF_00003FFF), (7, 0x007F007F_007F007F))
        yield 0, _spread(long & (1 << 56) - 1, steps) | 0x80808080_80808080
        if slot.width == BITS_63:
            yield 8, (long >> 56 & 0x7F).astype("u1")
        else:
            yield 8, (long >> 56 & 0x7F | 0x80 | long >> 63 << 8).astype("<u2")


def _spread(values: Numbers, steps: Iterable[tuple[int, int]]) -> Numbers:
    """Seven bits to each byte: every step moves the upper half of each piece up, by the bits that it gives away."""
    for bits, lower in steps:
        kept = values & lower
        values = kept | (values ^ kept) << bits // 7
    return values


def number(field: int, value: int) -> Shape:
    """A number that is the same in all messages."""
    return Shape(_key(field, _VARINT) + _varint(value))


def text(field: int, value: str) -> Shape:
    """A text likewise."""
    data = value.encode(errors="replace")
    return Shape(_key(field, _BYTES) + _varint(len(data)) + data)


def column(field: int, name: str, width: int) -> Shape:
    """A number of its own in each message; `width` is BITS_32, BITS_63 or BITS_64."""
    key = _key(field, _VARINT)
    return Shape(key + bytes(width), (Slot(name, len(key), width),))


def fixed64(field: int, name: str) -> Shape:
    """The same of a field of the type fixed64."""
    key = _key(field, _FIXED64)
    return Shape(key + bytes(8), (Slot(name, len(key), 8, fixed=True),))


def message(field: int, *parts: Shape) -> Shape:
    """A message in a message."""
    head = _key(field, _BYTES) + _varint(sum(len(part.data) for part in parts))
    data, slots = head, []
    for part in parts:
        slots += [Slot(slot.column, len(data) + slot.at, slot.width, slot.fixed) for slot in part.slots]
        data += part.data
    return Shape(data, tuple(slots))


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*made, value))
