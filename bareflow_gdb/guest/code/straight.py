"""Is a piece of code nothing but a straight line to its return?"""

from __future__ import annotations

from bareflow_gdb.guest.code.code_diff import disassembler

LOOKED_AT = 32
_ENDS = ("j", "call", "loop", "int", "hlt", "iret", ".byte")


def returns_after(code: bytes, address: int) -> int:
    """Bytes up to the end of its `ret`, when no branch, call or interrupt comes before; 0 = it is not so."""
    for start, length, mnemonic, _ in disassembler(32).disasm_lite(code, address):
        if mnemonic.startswith("ret"):
            return int(start + length - address)
        if mnemonic.startswith(_ENDS):
            return 0
    return 0
