"""Is this ELF file the one of the kernel in memory, and what does it call the kernel's addresses?

Kernels with a build id are compared by it; of stock kernels, which have none, the code is: in full where reads are
free, over a gdbstub some pieces of it, 4 packets at most. A stripped file has no names.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, ReadError, Unreachable, UsageError
from bareflow_gdb.files import open_regular
from bareflow_gdb.foreign import printable
from bareflow_gdb.guest.base.loaded import being_loaded
from bareflow_gdb.guest.base.root import decode_root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.elf_damage import elf_damage
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.image import SECTOR, decode_image_header

if TYPE_CHECKING:
    from bareflow_gdb.guest.names.frame_tables import FrameTables

_PIECES = 4
_PIECE = 256
_MOST_CODE = 1 << 20
# A debugger of another kind may have put breakpoints into the code.
_TOLERATED = 1 / 64
_MOST_SYMBOLS = 100_000
_MOST_ELVES = 64
_MOST_ELF_BYTES = 32 << 20
_UNNAMED = {3, 4}
"""Types of symbols that name no place in the program: section, file (System V ABI, figure 4-17)."""
_WRITE, _EXECUTE = 1, 4
"""Flags of sections (System V ABI, figure 4-11)."""
_ENTRY = struct.Struct("<IIIBBH")


@dataclass(frozen=True)
class Symbol:
    """A named place; size 0 = not known."""

    name: str
    address: int
    size: int


class KernelSymbols:
    """Symbols by address, and the frame tables beside them; empty when there is no ELF."""

    def __init__(
        self, symbols: Iterable[Symbol] = (), tables: FrameTables | None = None, path: Path | None = None
    ) -> None:
        self.tables = tables
        self.path = path
        """The file that they are from."""
        # Of several names for one place the sized and then the first by name wins, so that answers are stable.
        found = sorted(symbols, key=lambda item: (item.address, item.size, item.name))
        self._symbols = list({item.address: item for item in found}.values())
        self._addresses = [item.address for item in self._symbols]
        self.by_name = {item.name: item.address for item in found}

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

    def sized(self) -> list[Symbol]:
        """Those whose size is known, by address."""
        return [symbol for symbol in self._symbols if symbol.size]

    def extent(self, symbol: Symbol) -> int:
        """Its bytes; of one without a size those to the next one."""
        if symbol.size:
            return symbol.size
        after = bisect_right(self._addresses, symbol.address)
        return self._addresses[after] - symbol.address if after < len(self._addresses) else 0

    def end_below(self, address: int) -> int:
        """The highest end of a symbol that does not lie over the address; 0 = there is none."""
        ends = (symbol.address + symbol.size for symbol in self._symbols if symbol.size)
        return max((end for end in ends if end <= address), default=0)


@dataclass(frozen=True)
class KernelElf:
    """What is needed of a kernel's ELF file."""

    path: Path
    build_id: str
    """GNU build id, hexadecimal; "" = it has none."""
    symbols: KernelSymbols
    """Empty when the file is stripped."""
    text_address: Address
    text: bytes
    """The section .text, or of a file without sections what it loads as code."""
    lowest: Address
    """The lowest address that it loads anything to."""


@dataclass(frozen=True)
class ElfCheck:
    """The comparison of an ELF file with the memory."""

    path: str
    same: bool
    """It is this kernel's."""
    compared: int
    """Bytes of code; 0 = the build ids were compared."""
    different: int
    verdict: str
    """One sentence that names the file."""
    absent: bool = False
    """There is nothing in memory yet to compare it with."""


def beside(image: Path) -> list[Path]:
    """The ELF files beside a boot image that its kernel may be of.

    By the build id that the image carries, whatever they are called. A stock kernel's image carries none: then those
    by the names that the build gives, fluid.img and kernel.elf, NAME.img and NAME.elf.
    """
    build_id = image_build_id(image)
    if build_id:
        return with_build_id(image.parent, build_id)
    return [path for path in (image.with_suffix(".elf"), image.with_name("kernel.elf")) if path.is_file()]


def image_build_id(image: Path) -> str:
    """Of the kernel on a boot image, as its root descriptor has it; "" when the image has none, or is no such file."""
    base = layouts.const("BF_IMAGE_BASE")
    try:
        with open_regular(image) as disk:
            disk.seek(layouts.const("BF_IMAGE_LBA") * SECTOR)
            kernel = disk.read(layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR)
        root = decode_image_header(kernel, image.name).root
        return decode_root(root, kernel[root - base :]).build_id if root > base else ""
    except (OSError, BareflowError):
        return ""


def with_build_id(folder: Path, build_id: str) -> list[Path]:
    """The ELF files in a folder that have this build id, of the first 64 there."""
    wanted = bytes.fromhex(build_id)
    found = []
    for path in islice(sorted(folder.glob("*.elf")), _MOST_ELVES):
        try:
            with open_regular(path) as file:
                named = wanted in file.read(_MOST_ELF_BYTES)
            if named and load_elf(path).build_id == build_id:
                found.append(path)
        except (OSError, BareflowError):
            continue
    return found


def load_elf(path: Path) -> KernelElf:
    """Raises BadData when the file is not an i386 kernel ELF or is damaged."""
    with _parsed(path) as elf:
        return _read(path, elf)


@contextmanager
def _parsed(path: Path) -> Iterator[Any]:
    """The file as pyelftools reads it, from memory: of a file it would take what a damaged header says.

    Raises BadData, also for what is found damaged while it is used.
    """
    from elftools.elf.elffile import ELFFile

    try:
        with open_regular(path) as file:
            data = BytesIO(file.read(_MOST_ELF_BYTES))
        yield ELFFile(data)
    except (OSError, Unreachable, UsageError) as error:
        raise BadData(f"{error}; give the kernel's ELF file") from error
    except elf_damage() as error:
        raise BadData(f"{path} is not an i386 ELF file, or damaged ({error}); give the kernel's ELF file") from error


def _read(path: Path, elf: Any) -> KernelElf:
    from bareflow_gdb.guest.names.frame_tables import FrameTables

    if elf.header["e_machine"] != "EM_386" or elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise BadData(f"{path} is an ELF file, but not of an i386 kernel; give the kernel's ELF file")
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
    code = [segment for segment in loads if segment["p_flags"] & 1 and segment["p_filesz"]]
    text = elf.get_section_by_name(".text")
    if not code or (text is None and elf.num_sections() > 1):
        raise BadData(f"{path} has no code; give the kernel's ELF file")
    part, where = (text, text["sh_addr"]) if text is not None else (code[0], code[0]["p_vaddr"])
    tables = [section for section in elf.iter_sections() if section["sh_type"] == "SHT_SYMTAB"]
    if any(section.compressed for section in (*tables, *filter(None, [text]))):
        raise BadData(f"{path} has compressed code or symbols, which no loader takes; give the kernel's ELF file")
    names = [symbol for table in tables for symbol in _symbols(table.data(), table.stringtable.data())]
    note = elf.get_section_by_name(".note.gnu.build-id")
    ids = [item["n_desc"] for item in note.iter_notes() if item["n_type"] == "NT_GNU_BUILD_ID"] if note else []
    return KernelElf(
        path=path,
        build_id=ids[0] if ids else "",
        symbols=KernelSymbols(names, FrameTables.of(elf), path),
        text_address=Address(where),
        text=bytes(part.data()[:_MOST_CODE]),
        lowest=Address(min(segment["p_vaddr"] for segment in loads)),
    )


def _symbols(table: bytes, names: bytes) -> Iterable[Symbol]:
    """pyelftools takes 20 ms to make an object of each symbol of a kernel; the bytes take one."""
    usable = len(table) - len(table) % _ENTRY.size
    for at, address, size, info, _, home in _ENTRY.iter_unpack(table[: min(usable, _MOST_SYMBOLS * _ENTRY.size)]):
        if at and 0 < home < 0xFF00 and info & 15 not in _UNNAMED:
            name = names[at : names.index(b"\0", at)].decode("latin-1")
            yield Symbol(printable(name), address, size)


def loaded_sections(path: Path) -> list[tuple[str, int, bytes, bool]]:
    """Name, address and bytes of each section that a loader brings into memory, and whether code may write there.

    Raises BadData.
    """
    with _parsed(path) as elf:
        return [
            (str(one.name), int(one["sh_addr"]), bytes(one.data()[:_MOST_CODE]), bool(one["sh_flags"] & 1))
            for one in _in_memory(elf, "SHT_PROGBITS")
            if not one.compressed
        ]


def zeroed_sections(path: Path) -> list[tuple[str, int, int]]:
    """Name, first address and end of each section that begins as zeros, as .bss does. Raises BadData."""
    with _parsed(path) as elf:
        return [
            (str(one.name), int(one["sh_addr"]), int(one["sh_addr"]) + int(one["sh_size"]))
            for one in _in_memory(elf, "SHT_NOBITS")
        ]


def constant_objects(path: Path) -> list[tuple[str, int, bytes]]:
    """Name, address and bytes of each named object that code only reads; empty when stripped. Raises BadData."""
    with _parsed(path) as elf:
        sections = [
            (int(one["sh_addr"]), bytes(one.data()[:_MOST_CODE]))
            for one in _in_memory(elf, "SHT_PROGBITS")
            if not one["sh_flags"] & (_WRITE | _EXECUTE) and not one.compressed
        ]
    found = []
    left = _MOST_ELF_BYTES
    for symbol in load_elf(path).symbols.sized():
        for start, data in sections:
            if start <= symbol.address and symbol.address + symbol.size <= start + len(data):
                at = symbol.address - start
                left -= symbol.size
                if left < 0:
                    raise BadData(f"{path} names more objects than it holds; give the kernel's ELF file")
                found.append((symbol.name, symbol.address, data[at : at + symbol.size]))
    return found


def _in_memory(elf: Any, kind: str) -> list[Any]:
    return [one for one in elf.iter_sections() if one["sh_type"] == kind and one["sh_flags"] & 2]


def check_elf(memory: Memory, elf: KernelElf, build_id: str = "") -> ElfCheck:
    """By the build id when the kernel in memory has one; else by its code, where it was linked or is loaded."""
    path = str(elf.path)
    if build_id:
        return ElfCheck(path, elf.build_id == build_id, 0, 0, f"{elf.path.name} {_by_build_id(elf, build_id)}")
    compared, different, empty = _compare(memory, elf, 0)
    if compared and different <= compared * _TOLERATED:
        return ElfCheck(path, True, compared, different, f"{elf.path.name} is this kernel's: its code is in memory")
    if loading := being_loaded(memory):
        return ElfCheck(path, False, 0, 0, f"{elf.path.name} cannot be compared yet: {loading}", True)
    shift = layouts.const("BF_IMAGE_BASE") - elf.lowest
    absent = False
    moved, wrong, _ = _compare(memory, elf, shift) if shift else (0, 0, True)
    if moved and wrong <= moved * _TOLERATED:
        compared, different = moved, wrong
        why = (
            f"is linked at 0x{elf.lowest:x}, but loaded at 0x{elf.lowest + shift:x}: every string "
            f"and data address of this kernel is off by 0x{abs(shift):x}; link it where it is loaded"
        )
    elif empty:
        absent, why = True, f"cannot be compared yet: there is no code at 0x{elf.text_address:x}"
    else:
        why = (
            f"is another kernel's: {different:,} of {compared:,} compared bytes of its code differ from "
            "memory; its symbols are not used, give the right file"
        )
    return ElfCheck(path, False, compared, different, f"{elf.path.name} {why}", absent)


def _by_build_id(elf: KernelElf, build_id: str) -> str:
    if elf.build_id == build_id:
        return "is this kernel's: the same build id"
    theirs = f"build {elf.build_id[:12]}" if elf.build_id else "a build without an id"
    return (
        f"is another kernel's ({theirs}, the guest is {build_id[:12]}); its symbols are not used, give the right file"
    )


def _compare(memory: Memory, elf: KernelElf, shift: int) -> tuple[int, int, bool]:
    """Bytes compared, bytes that differ, and whether the memory there is nothing but zeros."""
    compared = different = 0
    empty = True
    for start, size in _pieces(memory, len(elf.text)):
        try:
            there = memory.read(elf.text_address + shift + start, size, "code of the kernel")
        except ReadError:
            different += size
            compared += size
            continue
        wanted = elf.text[start : start + size]
        compared += size
        empty = empty and not any(there)
        if there != wanted:
            different += sum(one != other for one, other in zip(there, wanted, strict=True))
    return compared, different, empty


def _pieces(memory: Memory, size: int) -> list[tuple[int, int]]:
    if memory.packets == 0 or size <= _PIECE * _PIECES:
        return [(0, size)] if size else []
    step = (size - _PIECE) // (_PIECES - 1)
    return [(index * step, _PIECE) for index in range(_PIECES)]


class ElfOfKernel:
    """The kernel's own ELF among some files that may be it; each is read once, when a name is first needed."""

    def __init__(
        self,
        memory: Memory,
        given: Callable[[], Iterable[Path]] = tuple,
        guessed: Callable[[str], Iterable[Path]] = lambda _: (),
        complain: Callable[[str], None] | None = None,
    ) -> None:
        """`guessed` is told the build id, "" while it is not known.

        `complain` gets, once and in a sentence, why a file that was given is not used; a guess may be wrong.
        """
        self._memory = memory
        self._given = given
        self._guessed = guessed
        self._complain = complain
        self._files: dict[Path, KernelElf | str] = {}
        self._checked: dict[tuple[Path, str], ElfCheck] = {}
        self._refused: set[Path] = set()

    def symbols(self, build_id: str = "") -> KernelSymbols:
        """Of the first candidate that is the kernel of `build_id`, or whose code is in memory; empty without one."""
        given = list(self._given())
        nameless = KernelSymbols()
        for path in (*given, *self._guessed(build_id)):
            elf = self._loaded(path)
            if isinstance(elf, KernelElf):
                check = self._checked.get((path, build_id)) or check_elf(self._memory, elf, build_id)
                if not check.absent:
                    # Comparing code costs packets, and a connection's kernel is seldom another one later.
                    self._checked[path, build_id] = check
                if check.same and (elf.symbols or elf.symbols.tables is not None):
                    return elf.symbols
                if check.same and nameless.path is None:
                    # Stripped: its sections still tell what was to be loaded where.
                    nameless = KernelSymbols(path=elf.path)
                elf = "" if check.same or check.absent else check.verdict
            if elf and path in given:
                self.refuse(path, elf)
        return nameless

    def refuse(self, path: Path, why: str) -> None:
        """Says why a candidate is not used, unless that was said before."""
        if path not in self._refused and self._complain is not None:
            self._refused.add(path)
            self._complain(why)

    def _loaded(self, path: Path) -> KernelElf | str:
        """The file, or why it is not one."""
        if path not in self._files:
            try:
                self._files[path] = load_elf(path)
            except BareflowError as error:
                self._files[path] = str(error)
        return self._files[path]
