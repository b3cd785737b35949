"""Which compiler made this bitcode, for which machine, from which source?

LLVM Bitcode File Format: abbreviation IDs, blocks, records. Only the records of the identification block and of
the module block itself are decoded; every other block is stepped over by its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import ascii_of
from bareflow_gdb.guest.code.bitcode import PAYLOAD_MAGIC

_END_BLOCK, _ENTER_SUBBLOCK, _DEFINE_ABBREV, _UNABBREV = range(4)
_MODULE_BLOCK, _IDENTIFICATION_BLOCK = 8, 13
_IDENTIFICATION_STRING, _EPOCH = 1, 2
_VERSION, _TRIPLE, _DATALAYOUT, _SOURCE = 1, 2, 3, 16
_LITERAL, _FIXED, _VBR, _ARRAY, _CHAR6, _BLOB = 0, 1, 2, 3, 4, 5
_CHAR6_TEXT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"
_MOST_OPERANDS = 1 << 16
_MOST_RECORDS = 1 << 14

_Operand = tuple[int, int]
"""Encoding and its value: a literal, or a width in bits."""


@dataclass(frozen=True)
class Producer:
    """What the bitcode says about itself; "" = nothing."""

    producer: str
    """The identification string, for instance "LLVM19.1.7"."""
    epoch: int | None
    version: int | None
    """Of the module's record format."""
    triple: str
    source: str


def read_producer(data: bytes) -> Producer:
    """From the whole bitcode or its beginning, with what that much says.

    Raises BadData when it is not bitcode, or damaged.
    """
    if not data.startswith(PAYLOAD_MAGIC):
        raise BadData(f"the payload begins with {data[:4].hex(' ') or 'nothing'}, not 42 43 c0 de: no bitcode")
    reader = _Reader(data, 32)
    found: dict[tuple[int, int], list[int]] = {}
    try:
        for block, code, operands in _top_records(reader):
            found.setdefault((block, code), operands)
    except _CutOff:
        # Only the beginning was given; what it says is known.
        if not found:
            raise

    def number(block: int, code: int) -> int | None:
        return next(iter(found.get((block, code), ())), None)

    def text(block: int, code: int) -> str:
        return ascii_of(found.get((block, code), [])[:256])

    return Producer(
        producer=text(_IDENTIFICATION_BLOCK, _IDENTIFICATION_STRING),
        epoch=number(_IDENTIFICATION_BLOCK, _EPOCH),
        version=number(_MODULE_BLOCK, _VERSION),
        triple=text(_MODULE_BLOCK, _TRIPLE),
        source=text(_MODULE_BLOCK, _SOURCE),
    )


def _top_records(reader: _Reader) -> Iterator[tuple[int, int, list[int]]]:
    """(block, code, operands) of the identification block and the module block."""
    while reader.left() >= 64:
        if reader.fixed(2) != _ENTER_SUBBLOCK:
            return
        block, width, end = reader.enter()
        if block in (_IDENTIFICATION_BLOCK, _MODULE_BLOCK):
            for code, operands in _records(reader, width):
                yield block, code, operands
        reader.seek(end)
        if block == _MODULE_BLOCK:
            return


def _records(reader: _Reader, width: int) -> Iterator[tuple[int, list[int]]]:
    abbreviations: list[list[_Operand]] = []
    for _ in range(_MOST_RECORDS):
        kind = reader.fixed(width)
        if kind == _END_BLOCK:
            return
        if kind == _ENTER_SUBBLOCK:
            reader.seek(reader.enter()[2])
        elif kind == _DEFINE_ABBREV:
            abbreviations.append(reader.abbreviation())
        elif kind == _UNABBREV:
            code, count = reader.vbr(6), reader.count()
            yield code, [reader.vbr(6) for _ in range(count)]
        elif kind - 4 < len(abbreviations):
            values = reader.abbreviated(abbreviations[kind - 4])
            if values:
                yield values[0], values[1:]
        else:
            raise BadData(f"the bitcode is damaged: abbreviation {kind} is used and was never defined")


class _CutOff(BadData):
    """The bits end within a block."""


class _Reader:
    """Bits of the stream, the lowest of each byte first."""

    def __init__(self, data: bytes, at: int) -> None:
        self._value = int.from_bytes(data, "little")
        self._size = len(data) * 8
        self._at = at

    def left(self) -> int:
        return self._size - self._at

    def seek(self, at: int) -> None:
        if at < self._at:
            raise BadData("the bitcode is damaged: a block ends before what is in it")
        self._at = at

    def fixed(self, width: int) -> int:
        if self._at + width > self._size:
            raise _CutOff("the bitcode is damaged or cut off: it ends within a block")
        value = self._value >> self._at & (1 << width) - 1
        self._at += width
        return value

    def vbr(self, width: int) -> int:
        if width < 2:
            raise BadData("the bitcode is damaged: a number of variable length with no room for one")
        value = shift = 0
        while True:
            piece = self.fixed(width)
            value |= (piece & (1 << width - 1) - 1) << shift
            shift += width - 1
            if not piece >> width - 1:
                return value
            if shift > 64:
                raise BadData("the bitcode is damaged: a number has more than 64 bits")

    def count(self) -> int:
        count = self.vbr(6)
        if count > _MOST_OPERANDS:
            raise BadData(f"the bitcode is damaged: a record claims {count} operands")
        return count

    def align(self) -> None:
        self._at = -(-self._at // 32) * 32

    def enter(self) -> tuple[int, int, int]:
        """Block ID, abbreviation width, and the bit after the block."""
        block, width = self.vbr(8), self.vbr(4)
        self.align()
        words = self.fixed(32)
        if not 2 <= width <= 32:
            raise BadData(f"the bitcode is damaged: a block with abbreviations of {width} bits")
        return block, width, self._at + words * 32

    def abbreviation(self) -> list[_Operand]:
        found: list[_Operand] = []
        for _ in range(self.vbr(5)):
            if self.fixed(1):
                found.append((_LITERAL, self.vbr(8)))
                continue
            encoding = self.fixed(3)
            if not _FIXED <= encoding <= _BLOB:
                raise BadData(f"the bitcode is damaged: encoding {encoding} does not exist")
            width = self.vbr(5) if encoding in (_FIXED, _VBR) else 0
            if width > 64:
                raise BadData(f"the bitcode is damaged: an operand of {width} bits")
            found.append((encoding, width))
        return found

    def abbreviated(self, operands: list[_Operand]) -> list[int]:
        values: list[int] = []
        for index, (encoding, value) in enumerate(operands):
            if encoding == _ARRAY:
                element = operands[index + 1] if index + 1 < len(operands) else (_LITERAL, 0)
                return values + [self._scalar(element) for _ in range(self.count())]
            if encoding == _BLOB:
                size = self.count()
                self.align()
                values += [self.fixed(8) for _ in range(size)]
                self.align()
            else:
                values.append(self._scalar((encoding, value)))
        return values

    def _scalar(self, operand: _Operand) -> int:
        encoding, value = operand
        if encoding == _LITERAL:
            return value
        if encoding == _CHAR6:
            return ord(_CHAR6_TEXT[self.fixed(6)])
        # A width of 0 bits is the value 0 (LLVM's own reader does the same).
        return 0 if value == 0 else self.vbr(value) if encoding == _VBR else self.fixed(value)
