"""Which function of the kernel is at this address, by the kernel's ELF?

Only the symbol table is read: a stripped kernel has none, and the addresses stay without names.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BadData

_SYMBOL_TABLE, _NOTE = 2, 7
_UNNAMED = {3, 4}
"""Types of symbols that name no place in the program: section, file (System V ABI, figure 4-17)."""
_MOST_SYMBOLS = 100_000
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_ENTRY = struct.Struct("<IIIBBH")


@dataclass(frozen=True)
class Symbol:
    """A named place; size 0 = not known."""

    name: str
    address: int
    size: int


class KernelSymbols:
    """Symbols by address; empty when there is no ELF."""

    def __init__(self, symbols: list[Symbol] | None = None) -> None:
        # Of several names for one place the sized and then the first by name wins, so that answers are stable.
        found = sorted(symbols or [], key=lambda item: (item.address, item.size, item.name))
        self._symbols = list({item.address: item for item in found}.values())
        self._addresses = [item.address for item in self._symbols]

    def __bool__(self) -> bool:
        return bool(self._symbols)

    def at(self, address: int) -> Symbol | None:
        """The symbol that the address is in, or the nearest one before it when that has no size."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        symbol = self._symbols[index]
        inside = symbol.size == 0 or address < symbol.address + symbol.size
        return symbol if inside else None

    def address_of(self, name: str) -> int | None:
        """Where a symbol is; None when there is none of that name."""
        return next((item.address for item in self._symbols if item.name == name), None)


def beside(image: Path) -> list[Path]:
    """The ELF files that the build leaves beside a boot image: fluid.img and kernel.elf, NAME.img and NAME.elf."""
    return [path for path in (image.with_name("kernel.elf"), image.with_suffix(".elf")) if path.is_file()]


def read_kernel_symbols(path: Path, build_id: str | None = None) -> KernelSymbols:
    """The symbols of an i386 ELF file; none when `build_id` is given and the file is of another build.

    Raises BadData when it is no such file or damaged.
    """
    try:
        data = path.read_bytes()
        sections = _sections(data)
        if build_id is not None and build_id not in _build_ids(data, sections):
            return KernelSymbols()
        return KernelSymbols([symbol for table in sections for symbol in _table(data, sections, table)])
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}); give the kernel's ELF file") from error
    except (struct.error, ValueError, IndexError) as error:
        raise BadData(
            f"{path} is no i386 ELF file, or damaged ({error}); give the kernel's ELF file"
        ) from error


def _sections(data: bytes) -> list[tuple[int, ...]]:
    header = _HEADER.unpack_from(data)
    if header[0][:5] != b"\x7fELF\x01":
        raise ValueError("not a 32-bit ELF")
    offset, size, count = header[6], header[11], header[12]
    return [_SECTION.unpack_from(data, offset + index * size) for index in range(count)]


def _build_ids(data: bytes, sections: list[tuple[int, ...]]) -> list[str]:
    found = []
    for section in sections:
        if section[1] == _NOTE:
            note = data[section[4] : section[4] + section[5]]
            name_size, size, kind = struct.unpack_from("<III", note)
            if kind == 3 and note[12:16] == b"GNU\0":
                found.append(note[12 + name_size : 12 + name_size + size].hex())
    return found


def _table(data: bytes, sections: list[tuple[int, ...]], section: tuple[int, ...]) -> list[Symbol]:
    if section[1] != _SYMBOL_TABLE:
        return []
    strings = sections[section[6]]
    names = data[strings[4] : strings[4] + strings[5]]
    found = []
    for index in range(min(section[5] // _ENTRY.size, _MOST_SYMBOLS)):
        at, address, size, info, _, home = _ENTRY.unpack_from(data, section[4] + index * _ENTRY.size)
        if at and 0 < home < 0xFF00 and info & 15 not in _UNNAMED:
            name = names[at : names.index(b"\0", at)].decode("latin-1")
            found.append(Symbol("".join(c if c.isprintable() else "?" for c in name), address, size))
    return found
