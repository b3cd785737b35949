"""Is this ELF file the one of the kernel in memory? Its code is compared: stock kernels have no build id.

Cheap sources are compared in full; over a gdbstub some pieces of the code, 4 packets at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import Memory

_PIECES = 4
_PIECE = 256
_MOST_CODE = 1 << 20
# A debugger of another kind may have put breakpoints into the code.
_TOLERATED = 1 / 64


@dataclass(frozen=True)
class KernelElf:
    """What is needed of a kernel's ELF file."""

    path: Path
    symbols: Mapping[str, int]
    """Address by name; empty when the file is stripped."""
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
    """Bytes of code."""
    different: int
    verdict: str
    """One sentence that names the file."""


def load_elf(path: Path) -> KernelElf:
    """Raises BadData when the file is no i386 kernel ELF or is damaged."""
    import struct

    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            if elf.header["e_machine"] != "EM_386" or elf.header["e_type"] not in ("ET_EXEC", "ET_DYN"):
                raise BadData(f"{path} is an ELF file, but no i386 kernel; give the kernel's ELF file")
            loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD"]
            code = [segment for segment in loads if segment["p_flags"] & 1 and segment["p_filesz"]]
            text = elf.get_section_by_name(".text")
            if not code or (text is None and elf.num_sections() > 1):
                raise BadData(f"{path} has no code; give the kernel's ELF file")
            part, where = (text, text["sh_addr"]) if text is not None else (code[0], code[0]["p_vaddr"])
            symbols = {
                symbol.name: int(symbol["st_value"])
                for section in elf.iter_sections()
                if isinstance(section, SymbolTableSection)
                for symbol in section.iter_symbols()
                if symbol.name and symbol["st_shndx"] != "SHN_UNDEF"
            }
            return KernelElf(
                path=path,
                symbols=symbols,
                text_address=Address(where),
                text=bytes(part.data()[:_MOST_CODE]),
                lowest=Address(min(segment["p_vaddr"] for segment in loads)),
            )
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}); give the kernel's ELF file") from error
    except (ELFError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadData(
            f"{path} is no i386 ELF file, or damaged ({error}); give the kernel's ELF file"
        ) from error


def check_elf(memory: Memory, elf: KernelElf) -> ElfCheck:
    """Compares the code where it was linked; then where kernels are loaded, for one that was linked elsewhere."""
    compared, different, empty = _compare(memory, elf, 0)
    if compared and different <= compared * _TOLERATED:
        return _check(
            elf, True, compared, different, f"{elf.path.name} is this kernel's: its code is in memory"
        )
    shift = layouts.const("BF_IMAGE_BASE") - elf.lowest
    if shift:
        moved, wrong, _ = _compare(memory, elf, shift)
        if moved and wrong <= moved * _TOLERATED:
            return _check(
                elf,
                False,
                moved,
                wrong,
                f"{elf.path.name} is linked at 0x{elf.lowest:x}, but loaded at 0x{elf.lowest + shift:x}: every string "
                f"and data address of this kernel is off by 0x{abs(shift):x}; link it where it is loaded",
            )
    if empty:
        why = f"{elf.path.name} cannot be compared yet: there is no code at 0x{elf.text_address:x}"
        return _check(elf, False, compared, different, why)
    return _check(
        elf,
        False,
        compared,
        different,
        f"{elf.path.name} is another kernel's: {different} of {compared} compared bytes of its code differ from "
        "memory; its symbols are not used, give the right file",
    )


def _check(elf: KernelElf, same: bool, compared: int, different: int, verdict: str) -> ElfCheck:
    return ElfCheck(str(elf.path), same, compared, different, verdict)


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
    if memory.packets == 0:
        return [(0, size)] if size else []
    if size <= _PIECE * _PIECES:
        return [(0, size)] if size else []
    step = (size - _PIECE) // (_PIECES - 1)
    return [(index * step, _PIECE) for index in range(_PIECES)]
