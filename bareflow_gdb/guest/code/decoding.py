"""Which instructions are some bytes? As capstone decodes them, except that `ud1` comes with its operand.

Compilers stop at `ud1` where a check fails (`-ftrapv`, UBSan), and put the check's number into its operand, which
capstone takes for the next instruction. Intel SDM volume 2: UD1 r32, r/m32 is 0F B9 /r.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WINDOW = 4096
_LONGEST = 15
"""Bytes of an instruction."""


def decode(engine: Any, code: bytes, address: int = 0) -> Iterator[tuple[int, int, str, str]]:
    """Address, size, mnemonic and operands of each, up to the first that is none, unless `engine` skips those."""
    at = 0
    while at < len(code):
        window = code[at : at + _WINDOW]
        whole = len(window) if at + _WINDOW >= len(code) else len(window) - _LONGEST
        begun = at
        for start, size, mnemonic, operands in engine.disasm_lite(window, address + begun):
            if at - begun >= whole:
                break
            operand = _operand(code[at + size : at + size + 2]) if mnemonic == "ud1" else 0
            yield start, size + operand, mnemonic, operands
            at += size + operand
            if operand:
                break
        if at == begun:
            return


def _operand(code: bytes) -> int:
    """Bytes of ModRM and displacement, as LLVM writes them: a register, or one byte beside a register."""
    return min(len(code), 1 if code[:1] >= b"\xc0" else 2)
