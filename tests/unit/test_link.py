"""An object is linked for the place where it will run, against the one copy of the function's data."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from guest_code import MIXED, bitcode, compile_c, tier
from i686_program import Calls

from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.link import Linked, NeedMore, Room, link
from bareflow_gdb.recompile.objects import with_absolute_symbols
from bareflow_gdb.recompile.refusal import LinkError

ROOM = Room(code=0x20008, code_capacity=4096, rodata=0x480018, rodata_capacity=4096)
TABLE = GuestSymbol("mixed_table", Address(0x500100), 16)
CALLS = GuestSymbol("mixed_calls", Address(0x500200), 4)
SHARED = {"mixed_table": TABLE, "mixed_calls": CALLS}


def linked(data: bytes, entry: str, room: Room = ROOM, shared=SHARED, exports=None) -> Linked:  # type: ignore[no-untyped-def]
    made = link(data, entry, room, shared, exports or {})
    assert isinstance(made, Linked)
    return made


def install(calls: Calls, made: Linked, room: Room) -> int:
    calls.write(room.code, made.code)
    if made.rodata:
        calls.write(room.rodata, made.rodata)
    return room.code + made.entry_offset


def test_all_levels_compute_the_same_from_the_same_shared_data(tmp_path: Path) -> None:
    payload = bitcode(tmp_path, MIXED)
    inputs = [(a, b) for a in (0, 1, 8, 31, 64) for b in (-9, 0, 1 << 20)]
    answers = []
    with Compiler() as compiler:
        for level in range(4):
            calls = Calls()
            calls.write(0x500100, b"".join(n.to_bytes(4, "little") for n in (10, 20, 30, 40)))
            calls.write(0x500200, bytes(4))
            entry = install(calls, linked(compiler.compile(payload, "mixed_main", level).data, "mixed_main"), ROOM)
            results = [calls.call(entry, a, b) for a, b in inputs]
            answers.append((results, calls.read(0x500100, 16), calls.read(0x500200, 4)))
    assert len(set(map(str, answers))) == 1
    assert answers[0][2] != bytes(4), "the counter in the shared data was used"


def test_host_and_firmware_tiers_agree(tmp_path: Path) -> None:
    payload = bitcode(tmp_path, MIXED)
    with Compiler() as compiler:
        for level in range(4):
            results = []
            for data in (compiler.compile(payload, "mixed_main", level).data, tier(tmp_path, payload, level)):
                calls = Calls()
                entry = install(calls, linked(data, "mixed_main"), ROOM)
                results.append([calls.call(entry, a, 3) for a in range(40)])
            assert results[0] == results[1]


def test_too_little_room_is_answered_with_sizes_that_are_enough_anywhere(tmp_path: Path) -> None:
    data = compile_c(tmp_path, MIXED, "-O2")
    small = link(data, "mixed_main", Room(0x20008, 16, 0x480018, 0), SHARED, {})
    assert isinstance(small, NeedMore)
    for address in range(0x20000, 0x20020):
        assert isinstance(
            link(data, "mixed_main", Room(address, small.code, address + 0x1000, small.rodata), SHARED, {}), Linked
        )


def test_a_function_without_data_needs_no_room_for_it(tmp_path: Path) -> None:
    data = compile_c(tmp_path, "int f(int a, int b) { return a + b; }", "-O2")
    made = linked(data, "f", Room(0x20000, 64, 0, 0), {})
    assert made.rodata == b""


def test_exported_symbols_of_the_kernel_are_called(tmp_path: Path) -> None:
    calls = Calls()
    helper = linked(compile_c(tmp_path, "int g(int a) { return a * 7; }", "-O2"), "g", Room(0x40000, 64, 0, 0), {})
    calls.write(0x40000, helper.code)
    data = compile_c(tmp_path, "int g(int a); int f(int a, int b) { return g(a) + b; }", "-O2")
    made = linked(data, "f", ROOM, {}, {"g": 0x40000 + helper.entry_offset})
    assert calls.call(install(calls, made, ROOM), 6, 1) == 43
    with pytest.raises(LinkError, match="undefined symbol g"):
        link(data, "f", ROOM, {}, {})


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        ({}, "mixed_calls is not among the function's shared data .none."),
        ({"mixed_table": TABLE}, "mixed_calls is not among"),
        (
            SHARED | {"mixed_table": dataclasses.replace(TABLE, size=12)},
            "has 16 bytes in the bitcode and 12 in the guest",
        ),
    ],
)
def test_writable_data_that_the_guest_does_not_share_is_refused(tmp_path: Path, shared, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LinkError, match=words):
        link(compile_c(tmp_path, MIXED, "-O2"), "mixed_main", ROOM, shared, {})


def test_code_without_a_frame_is_refused(tmp_path: Path) -> None:
    data = compile_c(tmp_path, "int f(int a, int b) { return a + b; }", "-O2", "-fomit-frame-pointer")
    with pytest.raises(LinkError, match="EBP frame"):
        link(data, "f", ROOM, {}, {})


def test_the_symbol_file_has_the_shared_variables_where_the_guest_has_them(tmp_path: Path) -> None:
    made = linked(compile_c(tmp_path, MIXED, "-O2"), "mixed_main")
    table = ELFFile(io.BytesIO(with_absolute_symbols(made.data, made.fixed))).get_section_by_name(".symtab")
    (variable,) = table.get_symbol_by_name("mixed_table")
    assert (variable["st_value"], variable["st_shndx"]) == (0x500100, "SHN_ABS")
    assert made.sections[".text"] == ROOM.code + made.entry_offset
