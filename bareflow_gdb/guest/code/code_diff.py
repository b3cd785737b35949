"""What changed between two versions of a function's code? Both listings side by side, equal parts aligned.

Branch targets inside the code are written as offsets (`+0x1c`), so that code that only moved compares equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

LONGEST = 64 << 10
"""Bytes of one version that are disassembled; a larger size in guest memory cannot be right."""


@dataclass(frozen=True)
class Instruction:
    """One machine instruction; `offset` counts from the start of the version's code."""

    offset: int
    size: int
    text: str

    @property
    def is_padding(self) -> bool:
        return self.text.startswith("nop")


@dataclass(frozen=True)
class Row:
    """One line of the two columns; None where the other side has more instructions."""

    old: Instruction | None
    new: Instruction | None

    @property
    def equal(self) -> bool:
        return self.old is not None and self.new is not None and self.old.text == self.new.text


@cache
def _disassembler() -> Any:
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    # Bytes that are no instruction become `.byte`, so that garbage is shown and not cut off.
    engine.skipdata = True
    return engine


def disassemble(code: bytes, address: int) -> list[Instruction]:
    """The instructions of `code` as it runs at `address`."""
    size = min(len(code), LONGEST)
    found: list[Instruction] = []
    for start, length, mnemonic, operands in _disassembler().disasm_lite(code[:size], address):
        offset = start - address
        if mnemonic == "nop" and found and found[-1].is_padding:
            # Compilers fill up to the next loop or function with many of them: one line says it all.
            padding = found.pop()
            total = padding.size + length
            found.append(Instruction(padding.offset, total, f"nop ({total} bytes)"))
        else:
            found.append(Instruction(offset, length, _text(mnemonic, operands, address, size)))
    return found


def _text(mnemonic: str, operands: str, address: int, size: int) -> str:
    if mnemonic.startswith(("j", "call", "loop")) and operands.startswith("0x"):
        target = int(operands, 16)
        if address <= target < address + size:
            return f"{mnemonic} +0x{target - address:x}"
    return f"{mnemonic} {operands}".rstrip()


def align(old: Sequence[Instruction], new: Sequence[Instruction]) -> list[Row]:
    """Both listings in rows: equal instructions share one, changed ones face each other."""
    # Padding may be part of an equal stretch, but it must not be what holds one together.
    matcher = difflib.SequenceMatcher(
        lambda text: text.startswith("nop"), [i.text for i in old], [i.text for i in new], autojunk=False
    )
    rows: list[Row] = []
    for _, i, i_end, j, j_end in matcher.get_opcodes():
        left, right = old[i:i_end], new[j:j_end]
        for index in range(max(len(left), len(right))):
            rows.append(
                Row(
                    left[index] if index < len(left) else None,
                    right[index] if index < len(right) else None,
                )
            )
    return rows
