"""ELF cores: a small one built here, and every way in which one can be wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bareflow_gdb.errors import BadData, BareflowError, ReadError, Unreachable
from bareflow_gdb.memory.core import ElfCore

LOADS = ((0, 0x2000), (0xC0000, 0x50000), (0xFD000000, 0x1000))


def core_bytes(*, kind: int = 4, machine: int = 3, esp: int = 0x8FFC0, note_size: int = 0x1B8) -> bytes:
    """ELF64, machine i386, as `dump-guest-memory` writes it; byte a of RAM is a >> 8."""
    cpu = struct.pack("<II18Q", 1, 0x1B8, *range(1, 7), esp, *range(8, 17), 0x10123, 0x202)
    cpu += b"".join(struct.pack("<IIIIQ", 8 + n, 0xFFFF, 0, 0, n << 16) for n in range(10))
    cpu += struct.pack("<5QQ", 0x11, 0, 0xDEAD, 0, 0, 0)
    note = struct.pack("<III", 5, note_size, 0) + b"QEMU\0\0\0\0" + cpu[:note_size]
    count = len(LOADS) + 1
    offset = 64 + 56 * count
    headers = [struct.pack("<IIQQQQQQ", 4, 0, offset, 0, 0, len(note), len(note), 0)]
    offset += len(note)
    for start, size in LOADS:
        headers.append(struct.pack("<IIQQQQQQ", 1, 0, offset, start, start, size, size, 0))
        offset += size
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    ram = b"".join(bytes((start + at) >> 8 & 0xFF for at in range(size)) for start, size in LOADS)
    return elf + b"".join(headers) + note + ram


def write(folder: Path, data: bytes) -> Path:
    path = folder / "core"
    path.write_bytes(data)
    return path


def test_ram_is_read_by_physical_address(tmp_path: Path) -> None:
    core = ElfCore(write(tmp_path, core_bytes()))
    assert core.read(0x1200, 2, "word") == b"\x12\x12"
    assert core.read(0x101300, 1, "heap") == b"\x13"


def test_screen_rom_and_pci_memory_are_left_out(tmp_path: Path) -> None:
    core = ElfCore(write(tmp_path, core_bytes()))
    assert core.ranges == ((0, 0x2000), (0x100000, 0x110000))
    for address in (0xC0000, 0xFFFFF, 0xFD000000, 0x3000):
        with pytest.raises(ReadError, match="not inside the RAM of this ELF core"):
            core.read(address, 1, "device")


def test_registers_come_from_the_note(tmp_path: Path) -> None:
    cpu = ElfCore(write(tmp_path, core_bytes())).cpu()
    assert [cpu.general[name] for name in ("eip", "eflags", "esp", "eax")] == [0x10123, 0x202, 0x8FFC0, 1]
    assert cpu.segments["ds"].selector == 9
    assert cpu.segments["idt"].base == 9 << 16
    assert cpu.control["cr2"] == 0xDEAD


def test_a_core_without_a_video_card_has_no_screen(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does not contain the screen"):
        ElfCore(write(tmp_path, core_bytes())).screen()


def test_another_elf_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is a program, not a core; make a core with `bareflow core`"):
        ElfCore(write(tmp_path, core_bytes(kind=2)))
    with pytest.raises(BadData, match="is a core of machine EM_X86_64, not i386"):
        ElfCore(write(tmp_path, core_bytes(machine=62)))


def test_a_truncated_core_tells_what_it_has_and_what_is_missing(tmp_path: Path) -> None:
    whole = core_bytes()
    core = ElfCore(write(tmp_path, whole[: len(whole) - 0x1001]))
    (note,) = core.notes
    assert f"is truncated: it has {len(whole) - 0x1001:,} bytes and needs" in note
    assert note.endswith("0x0010ffff-0x00110000 is missing")
    assert core.read(0x1200, 2, "word") == b"\x12\x12"
    assert core.read(0x10FFF0, 15, "the last bytes") == b"\xff" * 15
    with pytest.raises(ReadError, match=r"RAM of this truncated ELF core \(0x00000000-0x00002000, .*-0x0010ffff\)"):
        core.read(0x10FFF0, 16, "the last bytes")
    assert core.cpu().general["eip"] == 0x10123


def test_a_core_of_which_no_ram_is_left_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"holds no RAM: .* is truncated"):
        ElfCore(write(tmp_path, core_bytes()[:700]))


@pytest.mark.parametrize("length", [40, 100])
def test_a_core_without_its_headers_is_not_advised_to_be_made_again(tmp_path: Path, length: int) -> None:
    """The machine is dead, in most cases."""
    with pytest.raises(BadData, match="its headers, which say where its memory is, are damaged or cut off; look for"):
        ElfCore(write(tmp_path, core_bytes()[:length]))


def test_a_core_cut_in_its_headers_is_read_by_those_that_are_there(tmp_path: Path) -> None:
    data = bytearray(core_bytes())
    # The first RAM begins behind the note; the headers say 200, the file ends before them.
    struct.pack_into("<H", data, 56, 200)
    struct.pack_into("<Q", data, 32, len(data) - 112)
    data[-112:] = data[64:176]
    core = ElfCore(write(tmp_path, bytes(data)))
    assert core.ranges == ((0, 0x2000),)
    assert "ends within its program headers" in core.notes[0]


def test_a_damaged_register_note_costs_only_the_registers(tmp_path: Path) -> None:
    core = ElfCore(write(tmp_path, core_bytes(note_size=100)))
    assert core.read(0x1200, 2, "word") == b"\x12\x12"
    with pytest.raises(BadData, match="register note"):
        core.cpu()


def loads(*parts: tuple[int, int, bytes]) -> bytes:
    """A core of (physical, virtual, bytes) and nothing else."""
    offset = 64 + 56 * len(parts)
    headers, data = b"", b""
    for physical, virtual, ram in parts:
        at = offset + len(data)
        headers += struct.pack("<IIQQQQQQ", 1, 0, at, virtual, physical, len(ram), len(ram), 0)
        data += ram
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 4, 3, 1, 0, 64, 0, 0, 64, 56, len(parts), 0, 0, 0)
    return elf + headers + data


def test_a_record_may_lie_in_two_segments_that_touch(tmp_path: Path) -> None:
    core = ElfCore(write(tmp_path, loads((0x1000, 0, b"a" * 256), (0x1100, 0, b"b" * 256))))
    assert core.ranges == ((0x1000, 0x1200),)
    assert core.read(0x10FE, 4, "record") == b"aabb"


def test_of_segments_that_overlap_the_first_one_tells(tmp_path: Path) -> None:
    parts = ((0x1080, 0, b"b" * 64), (0x1000, 0, b"a" * 256), (0x10F0, 0, b"c" * 32))
    core = ElfCore(write(tmp_path, loads(*parts)))
    assert core.ranges == ((0x1000, 0x1110),)
    assert core.read(0x107F, 66, "record") == b"a" + b"b" * 64 + b"a"
    assert core.read(0x10FF, 2, "record") == b"ac"


def test_physical_addresses_count_and_virtual_ones_where_there_are_no_others(tmp_path: Path) -> None:
    paged = ElfCore(write(tmp_path, loads((0x1000, 0xC0001000, b"a" * 16), (0x3000, 0xC0000000, b"b" * 16))))
    assert (paged.ranges, paged.notes) == (((0x1000, 0x1010), (0x3000, 0x3010)), [])
    flat = ElfCore(write(tmp_path, loads((0, 0x1000, b"a" * 16), (0, 0x3000, b"b" * 16))))
    assert flat.read(0x3000, 2, "word") == b"bb"
    assert "no physical addresses" in flat.notes[0]


def test_a_core_of_very_many_segments_is_read_in_part(tmp_path: Path) -> None:
    core = ElfCore(write(tmp_path, loads(*((at * 32, 0, b"x" * 16) for at in range(1, 5001)))))
    assert len(core.ranges) == 4096
    assert "5000 segments" in core.notes[0]


def test_a_core_that_shrinks_under_the_reader_is_no_crash(tmp_path: Path) -> None:
    path = write(tmp_path, core_bytes())
    core = ElfCore(path)
    with path.open("r+b") as file:
        file.truncate(1024)
    with pytest.raises(ReadError, match="delivered 0 bytes only"):
        core.read(0x101300, 4, "heap")


@pytest.mark.parametrize("length", [0, 1, 4, 15, 16, 63, 64, 100, 288, 400])
def test_every_truncation_is_an_error_of_the_suite(tmp_path: Path, length: int) -> None:
    with pytest.raises(BareflowError):
        ElfCore(write(tmp_path, core_bytes()[:length]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.integers(4, 780), st.integers(0, 255)), min_size=1, max_size=6))
def test_garbage_in_the_headers_raises_only_errors_of_the_suite(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(core_bytes())
    for at, value in changes:
        data[at] = value
    try:
        core = ElfCore(write(tmp_path, bytes(data)))
        core.read(0x1000, 16, "anything")
    except BareflowError:
        return
