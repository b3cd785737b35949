"""What may a debugger get of an object that was made from the guest's bitcode? See guest/code/debug_sections.py."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile

from bareflow_gdb.guest.code.debug_sections import cleaned, is_known
from bareflow_gdb.recompile.refusal import LinkError

_TABLES = ("SHT_NULL", "SHT_SYMTAB", "SHT_NOBITS")
_TYPE_OFFSET = 4
"""Of Elf32_Shdr.sh_type."""


def for_debuggers(data: bytes) -> bytes:
    """The object with harmless names and without the sections that are not known; they become SHT_NULL."""
    made = bytearray(data)
    elf = ELFFile(io.BytesIO(data))
    try:
        for index, section in enumerate(elf.iter_sections()):
            start, size = section["sh_offset"], section["sh_size"]
            if section["sh_type"] in _TABLES:
                continue
            if section["sh_type"] == "SHT_STRTAB" or is_known(section.name):
                made[start : start + size] = cleaned(section.name, data[start : start + size])
                continue
            made[start : start + size] = bytes(size)
            kind = elf["e_shoff"] + index * elf["e_shentsize"] + _TYPE_OFFSET
            made[kind : kind + 4] = bytes(4)
    except (IndexError, ValueError) as error:
        raise LinkError(f"the debug information of the object is damaged ({error}); compile it again") from error
    return bytes(made)
