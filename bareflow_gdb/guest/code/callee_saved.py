"""Which callee-saved registers does code write without having saved them? (System V ABI for i386, 3.2.1)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.code_diff import disassembler

REGISTERS = ("ebx", "esi", "edi")
FAMILIES = {
    **{part: f"e{one}x" for one in "abcd" for part in (f"e{one}x", f"{one}x", f"{one}l", f"{one}h")},
    **{part: f"e{one}" for one in ("si", "di", "bp") for part in (f"e{one}", one)},
}
"""The register that each name is a part of."""
_STRINGS = {"movs": ("esi", "edi"), "stos": ("edi",), "lods": ("esi",), "scas": ("edi",), "cmps": ("esi", "edi")}
_READS_ONLY = ("cmp", "test", "push", "call", "bt")


@dataclass(frozen=True)
class Lost:
    """The first write to a register that was not saved."""

    register: str
    address: Address
    instruction: str


def written(mnemonic: str, operands: str) -> tuple[str, ...]:
    """The general registers, but ESP, that an instruction may change."""
    # movsb, rep stosd, …; not movsx, nor SSE's movsd.
    name = mnemonic.rpartition(" ")[2]
    if name[:-1] in _STRINGS and name[-1] in "bwd" and "xmm" not in operands:
        return _STRINGS[name[:-1]]
    if name == "cpuid":
        return ("eax", "ebx", "ecx", "edx")
    if name in _READS_ONLY or name.startswith("j"):
        return ()
    parts = operands.split(",") if name in ("xchg", "xadd") else (operands.partition(",")[0],)
    return tuple(FAMILIES[part.strip()] for part in parts if part.strip() in FAMILIES)


def not_saved(code: bytes, address: int) -> Iterator[Lost]:
    """One for each register; code is read from its start to its end, as compilers lay it out: saving comes first."""
    open_registers = set(REGISTERS)
    for start, _, mnemonic, operands in disassembler(32).disasm_lite(code, address):
        if mnemonic == "push":
            open_registers.discard(operands)
        for register in written(mnemonic, operands) if mnemonic != "pop" else ():
            if register in open_registers:
                open_registers.discard(register)
                yield Lost(register, Address(start), f"{mnemonic} {operands}".rstrip())
