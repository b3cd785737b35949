"""How are very many protobuf messages of one shape written? Each field has the same place in all of them.

A number is written with as many bytes as the largest needs, which readers must take: the encoding has no shortest form
(https://protobuf.dev/programming-guides/encoding/). So a message is a row of a matrix, and a field some columns of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    def fill(self, count: int, columns: Mapping[str, npt.NDArray[np.uint64]]) -> bytes:
        """`count` messages, one after the other."""
        rows = np.tile(np.frombuffer(self.data, np.uint8), (count, 1))
        for slot in self.slots:
            values = columns[slot.column]
            if slot.fixed:
                rows[:, slot.at : slot.at + 8] = values.astype("<u8").view(np.uint8).reshape(count, 8)
                continue
            for index in range(slot.width):
                more = 0x80 if index + 1 < slot.width else 0
                rows[:, slot.at + index] = values >> np.uint64(7 * index) & np.uint64(0x7F) | np.uint64(more)
        return rows.tobytes()


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
