"""What does a debugger have to read to know the JIT code of this moment? One ELF file for all of it.

Each version's object (ELF32 i386, relocatable, DWARF) is relocated to where the guest runs it, and the debug
sections of all are joined: references between them are relocations too (System V ABI, Intel386 supplement,
chapter 4), so joining needs no knowledge of DWARF. One file costs gdb the same for 4 versions and for 400.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import gdb_name
from bareflow_gdb.guest.code.debug_sections import cleaned, readable

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_IDENT = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
_EXEC, _RELOCATABLE, _I386 = 2, 1, 3
_PROGBITS, _SYMTAB, _STRTAB, _NOBITS, _REL = 1, 2, 3, 8, 9
_ALLOC_EXEC = 0x6
_ABSOLUTE = 0xFFF1
_GLOBAL_FUNCTION, _GLOBAL_OBJECT = 0x12, 0x11
_R_386_32, _R_386_PC32 = 1, 2
_MOST_SECTIONS = 0xFF00
_MOST_ALIGNMENT = 16
"""Of debug sections; compilers write 1 and 4."""


@dataclass(frozen=True)
class Described:
    """One version's code: where it is, its names, and the object that tells its lines and variables."""

    label: str
    """Of its section: `v3`."""
    names: tuple[str, ...]
    """Symbols at its entry; debuggers show the first, as only that one has a size."""
    code: int
    size: int
    entry: int
    object: bytes = b""
    """Empty: names only."""
    sections: Mapping[str, int] = field(default_factory=dict)
    """Where the object's sections are in the guest."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Addresses of variables that lie elsewhere."""


@dataclass(frozen=True)
class _Part:
    name: str
    kind: int
    flags: int
    data: bytes
    link: int
    info: int
    align: int


@dataclass(frozen=True)
class _Name:
    name: str
    value: int
    size: int
    info: int
    section: int


def join(versions: Sequence[Described]) -> bytes:
    """The ELF file; raises BadData when an object is damaged."""
    joined: dict[str, bytearray] = {}
    names: list[_Name] = []
    for index, version in enumerate(versions, start=1):
        size = version.code + version.size - version.entry
        names += [
            _Name(name, version.entry, 0 if number else size, _GLOBAL_FUNCTION, index)
            for number, name in enumerate(version.names)
        ]
        if version.object:
            try:
                names += _add(version, index, joined)
            except (struct.error, IndexError, ValueError) as error:
                raise BadData(
                    f"the object of {version.names[0]} ({version.label}) is damaged ({error}); "
                    "recompile the function to get a new one"
                ) from error
    return _write(versions, joined, names)


def _add(version: Described, index: int, joined: dict[str, bytearray]) -> list[_Name]:
    """Appends the debug sections of one object, relocated; returns its functions and variables."""
    parts = _read(version.object)
    bases: dict[int, int] = {}
    known = readable(b"".join(part.data for part in parts if part.name == ".debug_abbrev"))
    for number, part in enumerate(parts):
        if part.name in known:
            if part.align > _MOST_ALIGNMENT:
                raise ValueError(f"{part.name} is aligned to {part.align:,} bytes")
            image = joined.setdefault(part.name, bytearray())
            image += bytes(-len(image) % max(1, part.align))
            bases[number] = len(image)
            image += cleaned(part.name, part.data)
        elif part.name in version.sections:
            bases[number] = version.sections[part.name]
    table = next((part for part in parts if part.kind == _SYMTAB), None)
    if table is None:
        raise ValueError("it has no symbol table")
    texts = parts[table.link].data
    symbols = [_symbol(texts, *fields) for fields in _SYMBOL.iter_unpack(table.data)]
    for part in parts:
        target = parts[part.info] if part.kind == _REL else None
        if target is not None and target.name in known:
            _relocate(part.data, joined[target.name], bases[part.info], symbols, bases, version.shared)
    return [
        _Name(s.name, _value(s, bases, version.shared), s.size, s.info, index if s.section in bases else _ABSOLUTE)
        for s in symbols
        if s.name and s.info in (_GLOBAL_FUNCTION, _GLOBAL_OBJECT) and _is_known(s, bases, version.shared)
    ]


def _read(data: bytes) -> list[_Part]:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != _IDENT[:6] or header[1] != _RELOCATABLE or header[2] != _I386:
        raise ValueError("it is not an ELF32 i386 relocatable object")
    start, count, strings = header[6], header[12], header[13]
    raws = [_SECTION.unpack_from(data, start + i * _SECTION.size) for i in range(count)]
    texts = _body(data, raws[strings])
    if sum(raw[5] for raw in raws if raw[1] != _NOBITS) > len(data):
        raise ValueError("its sections overlap, or go beyond its end")
    return [_Part(_text(texts, raw[0]), raw[1], raw[2], _body(data, raw), raw[6], raw[7], raw[8]) for raw in raws]


def _body(data: bytes, raw: tuple[int, ...]) -> bytes:
    return b"" if raw[1] == _NOBITS else data[raw[4] : raw[4] + raw[5]]


def _text(texts: bytes, at: int) -> str:
    return texts[at : texts.index(0, at)].decode("ascii", "replace")


def _symbol(texts: bytes, name: int, value: int, size: int, info: int, _: int, section: int) -> _Name:
    return _Name(_text(texts, name), value, size, info, section)


def _is_known(known: _Name, bases: Mapping[int, int], shared: Mapping[str, int]) -> bool:
    return known.name in shared or known.section in bases or known.section == _ABSOLUTE


def _value(known: _Name, bases: Mapping[int, int], shared: Mapping[str, int]) -> int:
    if known.name in shared:
        return shared[known.name]
    return known.value + bases.get(known.section, 0)


def _relocate(
    relocations: bytes,
    image: bytearray,
    start: int,
    symbols: list[_Name],
    bases: Mapping[int, int],
    shared: Mapping[str, int],
) -> None:
    for offset, info in struct.iter_unpack("<II", relocations):
        at = start + offset
        (addend,) = struct.unpack_from("<I", image, at)
        value = _value(symbols[info >> 8], bases, shared) + addend
        if info & 0xFF == _R_386_PC32:
            value -= at
        elif info & 0xFF != _R_386_32:
            raise ValueError(f"relocation of type {info & 0xFF} in its debug information")
        struct.pack_into("<I", image, at, value & 0xFFFFFFFF)


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def _write(versions: Sequence[Described], joined: Mapping[str, bytearray], names: Sequence[_Name]) -> bytes:
    if len(versions) > _MOST_SECTIONS:
        raise BadData(f"{len(versions)} versions are more than one ELF file describes")
    titles, strings = _Strings(), _Strings()
    table = bytearray(_SYMBOL.size)
    for name in names:
        table += _SYMBOL.pack(strings.add(gdb_name(name.name)), name.value, name.size, name.info, 0, name.section)
    body = bytearray(_HEADER.size)
    heads = [bytes(_SECTION.size)]

    def section(name: str, kind: int, data: bytes, *fields: int) -> None:
        flags, address, size, link, info, align, entry = fields
        body.extend(bytes(-len(body) % 4))
        heads.append(_SECTION.pack(titles.add(name), kind, flags, address, len(body), size, link, info, align, entry))
        body.extend(data)

    for version in versions:
        section(gdb_name(f".text.{version.label}"), _NOBITS, b"", _ALLOC_EXEC, version.code, version.size, 0, 0, 1, 0)
    for title, image in joined.items():
        section(title, _PROGBITS, bytes(image), 0, 0, len(image), 0, 0, 1, 0)
    link = len(heads) + 1
    section(".symtab", _SYMTAB, bytes(table), 0, 0, len(table), link, 1, 4, _SYMBOL.size)
    section(".strtab", _STRTAB, bytes(strings.data), 0, 0, len(strings.data), 0, 0, 1, 0)
    at = titles.add(".shstrtab")
    texts = bytes(titles.data)
    heads.append(_SECTION.pack(at, _STRTAB, 0, 0, len(body), len(texts), 0, 0, 1, 0))
    body += texts
    body += bytes(-len(body) % 4)
    header = _HEADER.pack(
        _IDENT, _EXEC, _I386, 1, 0, 0, len(body), 0, _HEADER.size, 0, 0, _SECTION.size, len(heads), len(heads) - 1
    )
    return header + bytes(body[_HEADER.size :]) + b"".join(heads)
