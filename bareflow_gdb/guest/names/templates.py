"""Which pieces of code does a kernel's ELF carry as data, for its code generator to copy? By its named objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.code_diff import disassembler
from bareflow_gdb.guest.names.elf import constant_objects

_SHORTEST, _LONGEST = 8, 8192
_LEAST_INSTRUCTIONS = 4
_NEVER = {
    ".byte",
    "in",
    "out",
    "hlt",
    "arpl",
    "bound",
    "les",
    "lds",
    "into",
    "aaa",
    "aas",
    "daa",
    "das",
    "insb",
    "outsd",
}
"""What ordinary data decodes to, and a generated function has not."""


@dataclass(frozen=True)
class Template:
    """Constant bytes that are code from their first to their last one, a return."""

    name: str
    address: Address
    code: bytes


def code_templates(elf: Path) -> Iterator[Template]:
    """Raises BadData when the file cannot be read."""
    for name, address, data in constant_objects(elf):
        if _SHORTEST <= len(data) <= _LONGEST and _is_code(data, address):
            yield Template(name, Address(address), data)


def _is_code(data: bytes, address: int) -> bool:
    lines = list(disassembler(32).disasm_lite(data, address))
    words = [mnemonic for _, _, mnemonic, _ in lines]
    ends = sum(size for _, size, _, _ in lines) == len(data) and words[-1].startswith("ret")
    return ends and len(words) >= _LEAST_INSTRUCTIONS and _NEVER.isdisjoint(words)
