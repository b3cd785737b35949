"""What does the code at a kernel's entry set up: its stack pointer, and the memory that it clears?

Only what such code consists of is followed: constants in registers, sums and shifts of them, `rep stos`, a jump ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.code.code_diff import disassembler
from bareflow_gdb.memory.protocol import Memory

_BYTES, _MOST_STEPS = 128, 64
_SIGNATURE_BYTES = 4
_UNIT = {"rep stosb": 1, "rep stosw": 2, "rep stosd": 4}
_ENDS = ("call", "j", "loop", "ret", "hlt", ".byte")


@dataclass(frozen=True)
class Entry:
    """What was read off; 0 and None = the code does not tell."""

    stack: int = 0
    """ESP before the first call."""
    cleared: tuple[int, int] | None = None
    """The first address that is cleared and the one after the last."""


def entry_of(memory: Memory) -> Entry:
    """Of the kernel in memory."""
    base = kernel_base(memory)
    if base is None:
        return Entry()
    try:
        code = memory.read(base, _BYTES, "entry of the kernel")
    except ReadError:
        return Entry()
    known: dict[str, int] = {}
    cleared = None
    at = base + _SIGNATURE_BYTES
    for _ in range(_MOST_STEPS):
        line = next(disassembler(32).disasm_lite(code[at - base :], at, 1), None)
        if line is None:
            break
        _, length, mnemonic, operands = line
        first, _, second = (part.strip() for part in operands.partition(","))
        ahead = _value(first, known) if mnemonic == "jmp" else None
        if ahead is not None and at < ahead < base + _BYTES:
            at = ahead
            continue
        if mnemonic in _UNIT:
            start, count = known.get("edi"), known.get("ecx")
            if start is not None and count is not None and known.get("eax") == 0:
                cleared = (start, start + count * _UNIT[mnemonic])
            known.pop("edi", None)
            known["ecx"] = 0
        elif mnemonic.startswith(_ENDS):
            break
        else:
            _step(known, mnemonic, first, second)
        at += length
    return Entry(known.get("esp", 0), cleared)


def _step(known: dict[str, int], mnemonic: str, first: str, second: str) -> None:
    """One instruction; what it writes and cannot be computed is no longer known."""
    old, value = known.get(first), _value(second, known)
    result = None
    if mnemonic == "mov":
        result = value
    elif mnemonic in ("xor", "sub") and first == second:
        result = 0
    elif old is not None and value is not None:
        computed = {"add": old + value, "sub": old - value, "shr": old >> (value & 31), "and": old & value}
        result = computed.get(mnemonic)
    if mnemonic in ("cmp", "test", "push"):
        return
    known.pop(first, None)
    if result is not None and "[" not in first:
        known[first] = result & 0xFFFFFFFF


def _value(operand: str, known: dict[str, int]) -> int | None:
    try:
        return int(operand, 0)
    except ValueError:
        return known.get(operand)
