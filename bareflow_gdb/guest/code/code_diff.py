"""What are the instructions of a piece of code, and what changed between two versions of it?

Branch targets inside the code are written as offsets (`+0x1c`), so that code that only moved compares equal.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bareflow_gdb import libraries
from bareflow_gdb.guest.code.decoding import decode

LONGEST = 64 << 10
"""Bytes of one version that are disassembled; a larger size in guest memory cannot be right."""
_LEAST_ADDRESS = 0x600
# Not those that are subtracted from a register.
_NUMBER = re.compile(r"(?<!- )0x([0-9a-f]+)")
_BRANCHES = ("j", "call", "loop")


@dataclass(frozen=True)
class Instruction:
    """One machine instruction; `offset` counts from the start of the version's code."""

    offset: int
    code: bytes
    text: str
    addresses: tuple[int, ...] = ()
    """Operands that may be addresses outside of the code."""

    @property
    def is_padding(self) -> bool:
        return self.text.startswith("nop")

    @property
    def cell(self) -> str:
        """The instruction with its offset, for a column of a comparison."""
        return f"+{self.offset:03x} {self.text}"


@dataclass(frozen=True)
class Row:
    """One line of the two columns; None where the other side has more instructions."""

    old: Instruction | None
    new: Instruction | None

    @property
    def equal(self) -> bool:
        return self.old is not None and self.new is not None and self.old.text == self.new.text


@dataclass(frozen=True)
class Pair:
    """A row as text; "" where one side has no instruction."""

    old: str
    new: str
    equal: bool


@cache
def disassembler(bits: int) -> Any:
    """Capstone for 16- or 32-bit code."""
    capstone = libraries.load("capstone")
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_16 if bits == 16 else capstone.CS_MODE_32)
    # Bytes that are no instruction become `.byte`, so that garbage is shown and not cut off.
    engine.skipdata = True
    return engine


def disassemble(code: bytes, address: int, bits: int = 32) -> list[Instruction]:
    """The instructions of `code` as it runs at `address`."""
    size = min(len(code), LONGEST)
    found: list[Instruction] = []
    for start, length, mnemonic, operands in decode(disassembler(bits), code[:size], address):
        offset = start - address
        raw = code[offset : offset + length]
        if mnemonic == "nop" and found and found[-1].is_padding:
            # Compilers fill up to the next loop or function with many of them: one line says it all.
            padding = found.pop()
            raw = padding.code + raw
            found.append(Instruction(padding.offset, raw, f"nop ({len(raw)} bytes)"))
        else:
            found.append(_instruction(offset, raw, mnemonic, operands, address, size))
    return found


def _instruction(offset: int, raw: bytes, mnemonic: str, operands: str, address: int, size: int) -> Instruction:
    if mnemonic.startswith(_BRANCHES) and operands.startswith("0x"):
        target = int(operands, 16)
        if address <= target < address + size:
            return Instruction(offset, raw, f"{mnemonic} +0x{target - address:x}")
    numbers = (int(digits, 16) for digits in _NUMBER.findall(operands))
    addresses = tuple(number for number in numbers if number >= _LEAST_ADDRESS)
    return Instruction(offset, raw, f"{mnemonic} {operands}".rstrip(), addresses)


def align(old: Sequence[Instruction], new: Sequence[Instruction]) -> list[Row]:
    """Both listings in rows: equal instructions share one, changed ones face each other."""
    # Padding may be part of an equal stretch, but it must not be what holds one together.
    matcher = difflib.SequenceMatcher(
        lambda text: text.startswith("nop"), [i.text for i in old], [i.text for i in new], autojunk=False
    )
    rows: list[Row] = []
    for _, i, i_end, j, j_end in matcher.get_opcodes():
        rows += itertools.starmap(Row, itertools.zip_longest(old[i:i_end], new[j:j_end]))
    return rows


def pairs(rows: Sequence[Row]) -> tuple[Pair, ...]:
    """The rows as text."""
    return tuple(Pair(row.old.cell if row.old else "", row.new.cell if row.new else "", row.equal) for row in rows)
