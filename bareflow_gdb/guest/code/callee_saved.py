"""Which callee-saved registers does code write without having saved them? (System V ABI for i386, 3.2.1)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.code_diff import disassembler

REGISTERS = ("ebx", "esi", "edi")
_PARTS = {
    **{f"e{one}x": (f"e{one}x", f"{one}x", f"{one}l", f"{one}h") for one in "abcd"},
    **{f"e{one}": (f"e{one}", one) for one in ("si", "di", "bp")},
}
FAMILIES = {part: register for register, parts in _PARTS.items() for part in parts}
"""The register that each name is a part of."""
_STRINGS = {"movs": ("esi", "edi"), "stos": ("edi",), "lods": ("esi",), "scas": ("edi",), "cmps": ("esi", "edi")}
_READS_ONLY = ("cmp", "test", "push", "call", "jmp", "bt ")


@dataclass(frozen=True)
class Lost:
    """The first write to a register that was not saved."""

    register: str
    address: Address
    instruction: str


def written(mnemonic: str, operands: str) -> tuple[str, ...]:
    """The general registers, but ESP, that an instruction may change."""
    if mnemonic == "cpuid":
        return ("eax", "ebx", "ecx", "edx")
    first = operands.partition(",")[0].strip()
    return tuple(register for register in _PARTS if _writes(register, mnemonic, first, operands))


def not_saved(code: bytes, address: int) -> Iterator[Lost]:
    """One for each register; code is read from its start to its end, as compilers lay it out: saving comes first."""
    open_registers = set(REGISTERS)
    for start, _, mnemonic, operands in disassembler(32).disasm_lite(code, address):
        text = f"{mnemonic} {operands}".rstrip()
        first = operands.partition(",")[0].strip()
        if mnemonic == "push":
            open_registers.discard(first)
        for register in sorted(open_registers):
            if _writes(register, mnemonic, first, operands):
                open_registers.discard(register)
                yield Lost(register, Address(start), text)


def _writes(register: str, mnemonic: str, first: str, operands: str) -> bool:
    # movsb, rep stosd, …; not movsx, nor SSE's movsd.
    string = mnemonic.rpartition(" ")[2]
    if string[:-1] in _STRINGS and string[-1] in "bwd" and "xmm" not in operands:
        return register in _STRINGS[string[:-1]]
    if mnemonic.startswith(_READS_ONLY):
        return False
    if mnemonic == "xchg":
        return any(part.strip() in _PARTS[register] for part in operands.split(","))
    return first in _PARTS[register] and mnemonic != "pop"
