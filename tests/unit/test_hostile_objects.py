"""What an object or a module image claims is checked before memory is taken for it."""

from __future__ import annotations

import io
import resource
import struct
from hashlib import sha256
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from guest_code import MIXED, compile_c

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.module import link_module, read_module
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.recompile.objects import read_object
from bareflow_gdb.recompile.refusal import LinkError

POINTERS = "int x; int *p = &x; int f(int a, int b) { return *p + a + b; }"
SIZE, ALIGNMENT, ENTRY_SIZE, FLAGS = 20, 32, 36, 8
"""Offsets into Elf32_Shdr."""
LARGE_MB = 100


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compile_c(tmp_path_factory.mktemp("object"), MIXED, "-O1")


def changed(data: bytes, section: str, field: int, value: int) -> bytes:
    """The object with a word of a section's header changed."""
    elf = ELFFile(io.BytesIO(data))
    at = elf["e_shoff"] + elf.get_section_index(section) * elf["e_shentsize"] + field
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


def refused(data: bytes, words: str) -> None:
    """Both linkers begin so; nothing large is made before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(LinkError, match=words):
        read_object(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < LARGE_MB


@pytest.mark.parametrize("alignment", [3, 8192, 1 << 30, 1 << 31])
def test_an_alignment_that_nothing_needs(good: bytes, alignment: int) -> None:
    refused(changed(good, ".text", ALIGNMENT, alignment), "wants alignment")


@pytest.mark.parametrize("size", [1 << 30, 0xFFFFFFF0])
@pytest.mark.parametrize("section", [".bss", ".text", ".rodata"])
def test_a_section_larger_than_any_guest(good: bytes, section: str, size: int) -> None:
    refused(changed(good, section, SIZE, size), "bytes of memory, the guest gives")


def test_a_section_that_the_file_does_not_hold(good: bytes) -> None:
    refused(changed(good, ".text", SIZE, len(good)), "cut off")


def test_a_compressed_section(good: bytes) -> None:
    refused(changed(good, ".text", FLAGS, 0x806), "compressed|damaged")


def test_more_symbols_or_relocations_than_any_object_has(good: bytes) -> None:
    refused(changed(good, ".symtab", SIZE, 16 << 20), "1,048,576 symbols")
    refused(changed(good, ".rel.text", SIZE, 16 << 20), "2,097,15. relocations")
    for section in (".symtab", ".rel.text"):
        for size in (0, 1):
            refused(changed(good, section, ENTRY_SIZE, size), "bytes each|damaged")


def relocated(tmp_path: Path, offset: int, kind: int = 1) -> bytes:
    """An object with a pointer in its data, whose relocation is moved."""
    data = compile_c(tmp_path, POINTERS, "-O1", "-fdata-sections")
    elf = ELFFile(io.BytesIO(data))
    section = next(s for s in elf.iter_sections() if s.name.startswith(".rel.data"))
    at = section["sh_offset"]
    (info,) = struct.unpack_from("<I", data, at + 4)
    return data[:at] + struct.pack("<II", offset, info & ~0xFF | kind) + data[at + 8 :]


def test_a_relocation_of_data_that_belongs_to_no_variable(tmp_path: Path) -> None:
    for offset in (1, 4, 1 << 20, 0xFFFFFFFC):
        with pytest.raises(LinkError, match="lies in no variable"):
            link_module(relocated(tmp_path, offset), "m", "f")
    with pytest.raises(LinkError, match="a distance"):
        link_module(relocated(tmp_path, 0, kind=2), "m", "f")
    assert read_module(link_module(relocated(tmp_path, 0), "m", "f")).relocations


def image(tmp_path: Path, place: str, value: int) -> bytes:
    """A module image with one lie and the right digest."""
    made = bytearray(link_module(compile_c(tmp_path, MIXED, "-O1"), "mixed", "mixed_main"))
    head, tail = layouts.size("module_header_t"), layouts.size("bf_module_tail")
    end = head + layouts.unpack("module_header_t", bytes(made)).code_size
    at = {"count": end + 4, "entry_point": layouts.offset("module_header_t", "entry_point")}.get(place)
    if at is None:
        at = end - tail + layouts.offset("bf_module_tail", place)
    made[at : at + 4] = struct.pack("<I", value)
    return bytes(made[:-32]) + sha256(made[:-32]).digest()


@pytest.mark.parametrize("value", [0x7FFFFFFF, 0xAF07D4E5, 0xFFFFFFFF])
@pytest.mark.parametrize(
    "place", ["count", "entry_point", "code_size", "rodata_offset", "rodata_size", "data_size", "symbol_count"]
)
def test_a_module_image_that_claims_too_much(tmp_path: Path, place: str, value: int) -> None:
    with pytest.raises(BareflowError, match=r"not a module image|truncated"):
        read_module(image(tmp_path, place, value))
