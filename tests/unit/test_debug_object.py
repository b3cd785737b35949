"""The joined debug object: what an independent reader sees in it, and what damaged objects do."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from guest_code import compile_c
from hypothesis import given, settings
from hypothesis import strategies as st

from bareflow_gdb.errors import BadData
from bareflow_gdb.gdb_ui.debug_object import Described, join
from bareflow_gdb.guest.code.debug_sections import cleaned, readable
from bareflow_gdb.recompile.debug_file import for_debuggers


def described(data: bytes, base: int, label: str) -> Described:
    return Described(
        label, ("primes@O2", "primes@jit"), base, 0x123, base, data, {".text": base}, {"primes_sieve": 0x250000}
    )


@pytest.fixture(scope="module")
def primes(firmware: Path) -> bytes:
    return (firmware / "modules" / "primes.O2.o").read_bytes()


def test_each_version_has_its_section_symbols_and_compile_unit(primes: bytes) -> None:
    elf = ELFFile(io.BytesIO(join([described(primes, 0x200000, "v1"), described(primes, 0x204000, "v2")])))
    assert [s["sh_addr"] for s in elf.iter_sections() if s.name.startswith(".text.")] == [0x200000, 0x204000]
    symbols = elf.get_section_by_name(".symtab")
    values = [(s.name, s["st_value"]) for s in symbols.iter_symbols() if s.name]
    assert values.count(("primes@O2", 0x200000)) == 1 and ("primes@jit", 0x204000) in values
    assert ("primes_sieve", 0x250000) in values and ("primes_main", 0x204000) in values
    units = [unit.get_top_DIE() for unit in elf.get_dwarf_info().iter_CUs()]
    names = [unit.attributes["DW_AT_name"].value for unit in units]
    assert len(names) == 2 and all(name.endswith(b"modules/primes.c") for name in names)
    lines = [elf.get_dwarf_info().line_program_for_CU(unit) for unit in elf.get_dwarf_info().iter_CUs()]
    starts = [next(e.state.address for e in program.get_entries() if e.state) for program in lines]
    assert starts == [0x200000, 0x204000]


def test_names_alone_need_no_object() -> None:
    elf = ELFFile(io.BytesIO(join([Described("v7", ("sum@O1",), 0x201000, 64, 0x201000)])))
    symbol = elf.get_section_by_name(".symtab").get_symbol_by_name("sum@O1")[0]
    assert (symbol["st_value"], symbol["st_size"], symbol["st_info"]["type"]) == (0x201000, 64, "STT_FUNC")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_object_is_refused_with_one_sentence(primes: bytes, data: st.DataObject) -> None:
    damaged = bytearray(primes)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for candidate in (bytes(damaged), bytes(damaged[:cut])):
        try:
            join([described(candidate, 0x200000, "v1")])
        except BadData as error:
            assert "recompile the function" in str(error)


@pytest.mark.parametrize(("field", "value"), [("sh_addralign", 1 << 28), ("sh_size", 0x7FFFFFFF)])
def test_sizes_are_checked_before_memory_is_taken(primes: bytes, field: str, value: int) -> None:
    damaged = bytearray(primes)
    elf = ELFFile(io.BytesIO(primes))
    at = {"sh_size": 20, "sh_addralign": 32}[field]
    for number, section in enumerate(elf.iter_sections()):
        if section.name == ".debug_info":
            head = elf["e_shoff"] + number * elf["e_shentsize"]
            damaged[head + at : head + at + 4] = value.to_bytes(4, "little")
    with pytest.raises(BadData, match=r"is damaged .*; recompile the function"):
        join([described(bytes(damaged), 0x200000, "v1")] * 2)


HOSTILE_SOURCE = """
#line 1 "/tmp/\x1b[31mevil.c"
int evil_main(int a, int b) { return a + b; }
__asm__(".pushsection .debug_gdb_scripts; .byte 4; .popsection; .pushsection .gnu_debuglink; .byte 1; .popsection");
"""
INLINE = '__asm__(".pushsection .debug_abbrev; .byte 1, 0x2e, 0, 3, 8, 0, 0, 0; .popsection");'


@pytest.mark.parametrize("version", ["-gdwarf-2", "-gdwarf-3", "-gdwarf-4", "-gdwarf-5"])
def test_only_known_sections_with_harmless_names_are_read(tmp_path: Path, version: str) -> None:
    made = compile_c(tmp_path, HOSTILE_SOURCE, "-O1", version, "-fdebug-macro")
    for data in (join([described(made, 0x200000, "v1")]), for_debuggers(made)):
        elf = ELFFile(io.BytesIO(data))
        there = {section.name for section in elf.iter_sections() if section["sh_type"] != "SHT_NULL"}
        assert ".debug_info" in there
        assert not {".debug_gdb_scripts", ".debug_macro", ".debug_macinfo", ".gnu_debuglink"} & there
        assert b"\x1b[31m" not in data and b"evil.c" in data
        units = [unit.get_top_DIE() for unit in elf.get_dwarf_info().iter_CUs()]
        assert [unit.attributes["DW_AT_language"].value for unit in units]


def test_strings_among_the_numbers_leave_only_names(tmp_path: Path) -> None:
    made = compile_c(tmp_path, HOSTILE_SOURCE + INLINE, "-O1")
    for data in (join([described(made, 0x200000, "v1")]), for_debuggers(made)):
        elf = ELFFile(io.BytesIO(data))
        kinds = {section.name for section in elf.iter_sections() if section["sh_type"] != "SHT_NULL"}
        assert not any(name.startswith(".debug") for name in kinds)
        assert b"evil_main" in data


@given(st.binary(max_size=300))
def test_any_bytes_are_cleaned_or_refused(data: bytes) -> None:
    for name in (".debug_str", ".debug_line"):
        with contextlib.suppress(IndexError, ValueError):
            assert len(cleaned(name, data)) == len(data)
    with contextlib.suppress(IndexError):
        readable(data)
