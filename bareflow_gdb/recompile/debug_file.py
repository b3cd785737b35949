"""What may a debugger get of an object that was made from the guest's bitcode? See guest/code/debug_sections.py."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section

from bareflow_gdb.guest.code.debug_sections import cleaned, is_known, readable

_TYPE_OFFSET = 4
"""Of Elf32_Shdr.sh_type; 0 is SHT_NULL."""


def for_debuggers(data: bytes) -> bytes:
    """The object with harmless names; sections that are not known, or cannot be read, are SHT_NULL and zero."""
    made = bytearray(data)
    elf = ELFFile(io.BytesIO(data))
    known = _readable(elf)
    for index, section in enumerate(elf.iter_sections()):
        if section["sh_type"] in ("SHT_NULL", "SHT_SYMTAB", "SHT_NOBITS"):
            continue
        start, size = section["sh_offset"], section["sh_size"]
        kept = _kept(section, data[start : start + size], known)
        made[start : start + size] = bytes(size) if kept is None else kept
        if kept is None:
            kind = elf["e_shoff"] + index * elf["e_shentsize"] + _TYPE_OFFSET
            made[kind : kind + 4] = bytes(4)
    return bytes(made)


def _readable(elf: ELFFile) -> frozenset[str]:
    section = elf.get_section_by_name(".debug_abbrev")
    try:
        return readable(section.data() if section is not None else b"")
    except IndexError:
        return frozenset()


def _kept(section: Section, data: bytes, known: frozenset[str]) -> bytes | None:
    if section["sh_type"] == "SHT_STRTAB" or is_known(section.name, known):
        try:
            return cleaned(section.name, data)
        except (IndexError, ValueError):
            return None
    return None
