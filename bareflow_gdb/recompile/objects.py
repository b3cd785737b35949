"""What does a compiled object contain that has to be placed in the guest, and how is it relocated?

Reads an ELF32 i386 relocatable object (System V ABI, Intel386 supplement, chapter 4: REL entries, addends in
the section bytes). Two linkers use it: `build.module` with areas at base 0, `recompile.link` with the final
addresses.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from bareflow_gdb.memory.elf_damage import elf_damage
from bareflow_gdb.recompile import runtimes
from bareflow_gdb.recompile.refusal import LinkError

R_386_32 = 1
R_386_PC32 = 2
R_386_PLT32 = 4
_KINDS = {3: "R_386_GOT32", 9: "R_386_GOTOFF", 10: "R_386_GOTPC", 14: "R_386_TLS_IE", 43: "R_386_GOT32X"}
_NAME_LIMIT = 31
SHN_ABS = 0xFFF1
COUNTERS = ".bf_counters"
"""Section of a version's own counters: they lie with its read-only data, for no page of the guest is protected."""

# The guest's pools have a few MiB; what an object claims is checked before memory is taken for it.
LARGEST_AREA = 16 << 20
"""Bytes of code, read-only or writable data."""
_LARGEST_ALIGNMENT = 4096
_MOST_SECTIONS = 4096
_MOST_SYMBOLS = 1 << 14
_MOST_RELOCATIONS = 1 << 17
_LONGEST_NAME = 1 << 14
_SYMBOL_BYTES, _RELOCATION_BYTES = 16, 8


class Area(Enum):
    """What is placed together in the guest."""

    CODE = "code"
    RODATA = "read-only data"
    DATA = "writable data"


@dataclass(frozen=True)
class Piece:
    """One section that occupies guest memory; `data` of a .bss section is its zero bytes."""

    index: int
    name: str
    area: Area
    alignment: int
    data: bytes
    zero: bool


@dataclass(frozen=True)
class Symbol:
    """An entry of the symbol table."""

    name: str
    defined: bool
    piece: Piece | None
    """Where it lies; None when it is undefined, or in a section that occupies no memory."""
    value: int
    size: int
    is_section: bool

    @property
    def area(self) -> Area | None:
        """The area it lies in."""
        return self.piece.area if self.piece else None


@dataclass(frozen=True)
class Relocation:
    """A word that depends on where things lie."""

    piece: Piece
    """The section that is patched."""
    offset: int
    kind: int
    symbol: Symbol


@dataclass(frozen=True)
class Compiled:
    """The parts of an object that matter to a linker."""

    pieces: tuple[Piece, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]

    def writable(self) -> list[Symbol]:
        """The named writable data, ordered by name."""
        found = [symbol for symbol in self.symbols if symbol.area is Area.DATA and not symbol.is_section]
        return sorted(found, key=lambda symbol: symbol.name)

    def function(self, name: str) -> Symbol:
        """A function that the object defines; raises LinkError."""
        for symbol in self.symbols:
            if symbol.name == name and symbol.piece is not None and symbol.area is Area.CODE:
                if symbol.value >= len(symbol.piece.data):
                    raise LinkError(f"{name} lies outside section {symbol.piece.name}; compile the object again")
                return symbol
        raise LinkError(f"the object has no function {name}; check the entry name")


@dataclass(frozen=True)
class Placement:
    """Where the code and read-only sections lie."""

    bases: Mapping[Area, int]
    """The addresses of both areas."""
    offsets: dict[int, int]
    """Into their areas, by the number of the section."""
    images: dict[Area, bytearray]

    def offset(self, symbol: Symbol) -> int:
        """Into its area."""
        assert symbol.piece is not None
        return self.offsets[symbol.piece.index] + symbol.value


@dataclass(frozen=True)
class Fixup:
    """An absolute word: at `offset` in `area` lies an address in `target` (None: a fixed address)."""

    area: Area
    offset: int
    target: Area | None


def read_object(data: bytes) -> Compiled:
    """Decodes an object; raises LinkError for anything that is not a linkable ELF32 i386 object."""
    try:
        elf = ELFFile(io.BytesIO(data))
        if elf.elfclass != 32 or elf["e_machine"] != "EM_386" or elf["e_type"] != "ET_REL":
            raise LinkError("not an ELF32 i386 relocatable object; compile with --target=i686-unknown-none-elf -c")
        sections = _sections(elf)
        pieces = {i: piece for i, s in enumerate(sections) if (piece := _piece(i, s)) is not None}
        table = next((s for s in sections if s.name == ".symtab"), None)
        if not isinstance(table, SymbolTableSection):
            raise LinkError("the object has no symbol table; do not strip it")
        _check_names(table.stringtable)
        _check_entries("symbols", [table], _SYMBOL_BYTES, _MOST_SYMBOLS)
        symbols = tuple(_symbol(entry, pieces) for entry in table.iter_symbols())
        lists = [s for s in sections if isinstance(s, RelocationSection) and s["sh_info"] in pieces]
        _check_entries("relocations", lists, _RELOCATION_BYTES, _MOST_RELOCATIONS)
        relocations = tuple(
            Relocation(pieces[section["sh_info"]], r["r_offset"], r["r_info_type"], symbols[r["r_info_sym"]])
            for section in lists
            for r in section.iter_relocations()
        )
    except elf_damage() as error:
        raise LinkError(f"the object is damaged ({error}); compile it again") from error
    return Compiled(tuple(pieces.values()), symbols, relocations)


def _sections(elf: ELFFile) -> list[Section]:
    """All of them; raises LinkError when they are more, or larger together, than any object that could run."""
    count = elf.num_sections()
    if count > _MOST_SECTIONS:
        raise LinkError(f"the object has {count:,} sections, at most {_MOST_SECTIONS:,} are taken; compile it simpler")
    if count:
        _check_names(elf.get_section(elf.get_shstrndx()))
    sections = [elf.get_section(number) for number in range(count)]
    size = sum(section["sh_size"] for section in sections if section["sh_flags"] & SH_FLAGS.SHF_ALLOC)
    if size > LARGEST_AREA:
        raise LinkError(f"the object needs {size:,} bytes of memory, the guest gives {LARGEST_AREA:,}; make it smaller")
    return sections


def _check_names(table: Section) -> None:
    """Raises LinkError for names so long that reading them all would never end."""
    if len(max(table.data().split(b"\0"), key=len)) > _LONGEST_NAME:
        raise LinkError(f"a name in the object has more than {_LONGEST_NAME:,} bytes; shorten it")


def _check_entries(what: str, sections: Sequence[Section], size: int, most: int) -> None:
    if any(section["sh_entsize"] != size for section in sections):
        raise LinkError(f"the object's {what} have not {size} bytes each; compile it again")
    count = sum(section["sh_size"] // size for section in sections)
    if count > most:
        raise LinkError(f"the object has {count:,} {what}, at most {most:,} are taken; make it smaller")


def _piece(index: int, section: Section) -> Piece | None:
    flags, name = section["sh_flags"], section.name
    # Unwind tables are for host tools; gdb takes them from the object's .debug_frame.
    if not flags & SH_FLAGS.SHF_ALLOC or section["sh_size"] == 0 or name.startswith(".eh_frame"):
        return None
    if flags & SH_FLAGS.SHF_TLS or name.startswith((".init_array", ".fini_array", ".ctors", ".dtors")):
        raise LinkError(f"section {name} needs a run-time start-up that a JIT function has not; avoid what creates it")
    zero, alignment = section["sh_type"] == "SHT_NOBITS", max(1, section["sh_addralign"])
    if alignment > _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise LinkError(
            f"section {name} wants alignment {alignment:,}, the guest gives {_LARGEST_ALIGNMENT:,}; lower it"
        )
    if section.compressed:
        raise LinkError(f"section {name} is compressed; compile the object without that")
    if flags & SH_FLAGS.SHF_EXECINSTR:
        area = Area.CODE
    elif flags & SH_FLAGS.SHF_WRITE and name != COUNTERS:
        area = Area.DATA
    else:
        area = Area.RODATA
    data = bytes(section["sh_size"]) if zero else section.data()
    if len(data) != section["sh_size"]:
        raise LinkError(f"section {name} is cut off; compile the object again")
    return Piece(index, name, area, alignment, data, zero)


def _symbol(entry: Any, pieces: Mapping[int, Piece]) -> Symbol:
    index = entry["st_shndx"]
    if index == "SHN_COMMON":
        raise LinkError(f"{entry.name} is a common symbol; compile with -fno-common")
    is_section = entry["st_info"]["type"] == "STT_SECTION"
    # pyelftools gives the reserved numbers, such as that of an undefined symbol, as words.
    defined = isinstance(index, int)
    return Symbol(entry.name, defined, pieces.get(index), entry["st_value"], entry["st_size"], is_section)


def place(compiled: Compiled, code_base: int = 0, rodata_base: int = 0) -> Placement:
    """Lays the code and the read-only sections out, aligned for areas that begin at the given addresses.

    Raises LinkError when they need more than any guest has.
    """
    bases = {Area.CODE: code_base, Area.RODATA: rodata_base}
    placed = Placement(bases, {}, {area: bytearray() for area in bases})
    for piece in compiled.pieces:
        image = placed.images.get(piece.area)
        if image is not None:
            fill = b"\x90" if piece.area is Area.CODE else b"\0"
            image += fill * (-(bases[piece.area] + len(image)) % piece.alignment)
            placed.offsets[piece.index] = len(image)
            image += piece.data
            if len(image) > LARGEST_AREA:
                raise LinkError(f"the {piece.area.value} needs more than {LARGEST_AREA:,} bytes; make it smaller")
    return placed


def size_anywhere(compiled: Compiled, area: Area) -> int:
    """Bytes that are enough for `area` (code or read-only data) at any address."""
    size = len(place(compiled).images[area])
    return size + max((piece.alignment - 1 for piece in compiled.pieces if piece.area is area), default=0)


def with_absolute_symbols(data: bytes, addresses: Mapping[str, int]) -> bytes:
    """The object with the named symbols fixed at the given addresses (SHN_ABS), for debuggers.

    A debugger can place sections, but each shared variable lies where the guest has it.
    """
    patched = bytearray(data)
    table = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    for index, entry in enumerate(table.iter_symbols()):
        if entry.name in addresses:
            start = table["sh_offset"] + index * table["sh_entsize"]
            struct.pack_into("<I", patched, start + 4, addresses[entry.name])  # Elf32_Sym.st_value
            struct.pack_into("<H", patched, start + 14, SHN_ABS)  # Elf32_Sym.st_shndx
    return bytes(patched)


def undefined(compiled: Compiled) -> list[str]:
    """Names that relocations need and the object does not define."""
    return sorted({r.symbol.name for r in compiled.relocations if not r.symbol.defined})


def relocate(
    compiled: Compiled, placed: Placement, data: Mapping[str, int], external: Mapping[str, int]
) -> list[Fixup]:
    """Applies each relocation that lies in a placed section; the absolute words are returned.

    `data` are the addresses of the writable symbols by name, `external` those of symbols that the object does not
    define. A relative word across areas is right only for final addresses.
    """
    fixups = []
    for relocation in compiled.relocations:
        piece, symbol = relocation.piece, relocation.symbol
        if piece.index not in placed.offsets:
            continue
        offset = placed.offsets[piece.index] + relocation.offset
        address = _address(symbol, placed, data, external)
        image = placed.images[piece.area]
        if relocation.offset + 4 > len(piece.data):
            raise LinkError(f"a relocation lies outside section {piece.name}; compile the object again")
        (addend,) = struct.unpack_from("<I", image, offset)
        if relocation.kind == R_386_32:
            fixups.append(Fixup(piece.area, offset, symbol.area))
            value = address + addend
        elif relocation.kind in (R_386_PC32, R_386_PLT32):
            value = address + addend - (placed.bases[piece.area] + offset)
        else:
            kind = _KINDS.get(relocation.kind, f"type {relocation.kind}")
            raise LinkError(f"unsupported relocation {kind} to {symbol.name or 'a section'}; compile with -fno-pic")
        struct.pack_into("<I", image, offset, value & 0xFFFFFFFF)
    return fixups


def _address(symbol: Symbol, placed: Placement, data: Mapping[str, int], external: Mapping[str, int]) -> int:
    name, piece = symbol.name, symbol.piece
    if not symbol.defined:
        if name not in external:
            raise LinkError(runtimes.undefined([name], "define it in the module or export it from the kernel"))
        return external[name]
    if piece is None:
        raise LinkError(f"{name or 'a relocation'} points into a section that is not loaded; do not refer to it")
    if piece.area is not Area.DATA:
        return placed.bases[piece.area] + placed.offset(symbol)
    # A section symbol does not say which variable is meant, so its shared copy cannot be found.
    if symbol.is_section:
        raise LinkError(f"writable data in {piece.name} is reached without a name; drop `static` from it")
    if name not in data:
        raise LinkError(f"writable data {name} is not among the function's shared data; rebuild its module")
    return data[name]


def check_name(name: str) -> None:
    """Raises LinkError when a symbol's name does not fit the guest's tables."""
    if len(name.encode()) > _NAME_LIMIT:
        raise LinkError(f"the name {name} is longer than {_NAME_LIMIT} bytes; shorten it")
