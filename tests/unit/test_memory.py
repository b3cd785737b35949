"""The choke point that every reader shares: bounds, labels, counters, the cache until the next stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from bareflow_gdb.errors import BadData, ReadError, Unreachable, UsageError
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.protocol import LINE, CheckedMemory, ram_ranges
from bareflow_gdb.memory.qemu_ram import QemuRam

RAM = 2 << 20


class Fake(CheckedMemory):
    """Memory whose byte at address a is a mod 251; counts its fetches."""

    name = "fake"
    packet_bytes = 2048

    def __init__(self) -> None:
        super().__init__(ram_ranges(RAM))
        self.fetched: list[tuple[int, int]] = []
        self.stored: list[tuple[int, bytes]] = []
        self.short = 0

    def _fetch(self, address: int, size: int) -> bytes:
        self.fetched.append((address, size))
        return pattern(address, size - self.short)

    def _store(self, address: int, data: bytes) -> None:
        self.stored.append((address, data))


def pattern(address: int, size: int) -> bytes:
    return bytes(number % 251 for number in range(address, address + size))


def test_the_screen_and_the_roms_are_not_ram() -> None:
    assert ram_ranges(64 << 20) == ((0, 0xA0000), (0x100000, 64 << 20))
    assert ram_ranges(0x80000) == ((0, 0x80000),)
    assert ram_ranges(0xC0000) == ((0, 0xA0000),)


@pytest.mark.parametrize(
    ("address", "size"),
    [(0x9FFFF, 2), (0xA0000, 1), (0xB8000, 4000), (0xFFFFF, 1), (0xFFFFF, 2), (RAM, 1), (RAM - 1, 2), (-1, 1)],
)
def test_nothing_outside_ram_is_read_or_written(address: int, size: int) -> None:
    memory = Fake()
    with pytest.raises(ReadError, match="not inside the RAM"):
        memory.read(address, size, "test")
    with pytest.raises(ReadError, match="cannot write"):
        memory.write(address, bytes(size), "test")
    assert memory.fetched == []
    assert memory.stored == []


def test_an_error_names_size_address_and_what_was_looked_for() -> None:
    with pytest.raises(ReadError) as caught:
        Fake().read(0x01234560, 64, "module manager")
    assert str(caught.value).startswith("cannot read 64 bytes at 0x01234560 (module manager): ")


def test_a_negative_size_from_a_damaged_record_is_an_error_and_zero_bytes_are_fine() -> None:
    with pytest.raises(ReadError, match="damaged"):
        Fake().read(0x1000, -5, "name")
    assert Fake().read(0xB8000, 0, "nothing") == b""


def test_a_read_is_cached_until_the_stop_goes_by() -> None:
    memory = Fake()
    assert memory.read(0x1234, 10, "a") == pattern(0x1234, 10)
    assert memory.read(0x1300, 100, "b") == pattern(0x1300, 100)
    assert len(memory.fetched) == 1
    memory.invalidate()
    memory.read(0x1234, 10, "a")
    assert len(memory.fetched) == 2


def test_a_small_read_never_needs_two_packets() -> None:
    for address in range(0x10000, 0x10000 + 3 * LINE, 37):
        memory = Fake()
        assert memory.read(address, 1792, "record") == pattern(address, 1792)
        ((_, size),) = memory.fetched
        assert size == 2048


def test_only_what_is_missing_is_fetched() -> None:
    memory = Fake()
    memory.read(0x1000, 2048, "first")
    memory.read(0x1000, 4096, "both")
    assert memory.fetched == [(0x1000, 2048), (0x1800, 2048)]


def test_fetching_ahead_stops_where_ram_ends() -> None:
    memory = Fake()
    assert memory.read(0x9FFF0, 16, "end") == pattern(0x9FFF0, 16)
    assert memory.read(RAM - 16, 16, "end") == pattern(RAM - 16, 16)
    assert all(start + size <= 0xA0000 or start >= 0x100000 for start, size in memory.fetched)
    assert sum(memory.fetched[-1]) == RAM


def test_neighbours_cost_one_fetch_whichever_is_asked_for_first() -> None:
    memory = Fake()
    assert memory.read(0x1400, 16, "second") == pattern(0x1400, 16)
    assert memory.read(0x1010, 16, "first") == pattern(0x1010, 16)
    assert memory.fetched == [(0x1000, memory.packet_bytes)]


def test_a_write_is_seen_by_the_next_read() -> None:
    memory = Fake()
    memory.read(0x1000, 4, "word")
    memory.write(0x1000, b"\1\2\3\4", "word")
    memory.read(0x1000, 4, "word")
    assert memory.stored == [(0x1000, b"\1\2\3\4")]
    assert len(memory.fetched) == 2


def test_a_source_that_delivers_too_little_is_an_error() -> None:
    memory = Fake()
    memory.short = 1
    with pytest.raises(ReadError, match="delivered 2047 bytes only"):
        memory.read(0x1000, 4, "word")
    memory.packet_bytes = 0
    with pytest.raises(ReadError, match="delivered 3 bytes only"):
        memory.read(0x1000, 4, "word")


def test_bytes_read_are_counted() -> None:
    memory = Fake()
    memory.read(0x1000, 4, "word")
    memory.read(0x1000, 60, "record")
    assert memory.bytes_read == 64


def test_a_ram_file_is_read_and_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(RAM))
    memory = QemuRam(path)
    memory.write(0x1000, b"\x78\x56\x34\x12", "word")
    memory.write(0x1005, b"odd", "bytes")
    assert path.read_bytes()[0x1000:0x1008] == b"\x78\x56\x34\x12\0odd"
    view = memory.view(0x1000, 4, "word")
    memory.write(0x1000, b"\xff\xff\xff\xff", "word")
    assert bytes(view) == b"\xff\xff\xff\xff"
    with pytest.raises(Unreachable, match="does not contain the screen"):
        memory.screen()


def test_a_ram_file_opened_for_reading_refuses_to_write(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(RAM))
    with pytest.raises(ReadError, match="reading only"):
        QemuRam(path, writable=False).write(0x1000, b"\1\2\3\4", "word")


def test_the_ram_of_a_machine_that_ended_is_not_taken_for_a_live_one(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(RAM))
    with pytest.raises(ReadError, match="QEMU is gone"):
        QemuRam(path, alive=lambda: False).read(0x1000, 4, "word")


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_ram_file_is_unreachable(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ram").write_bytes(content)
    with pytest.raises(Unreachable, match="RAM file"):
        QemuRam(tmp_path / "ram")


def test_a_dump_is_read_by_address_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pattern(0, 0x120000))
    dump = RawDump(path)
    assert dump.read(0x10000, 32, "image header") == pattern(0x10000, 32)
    assert dump.screen() == pattern(0xB8000, 4000)
    with pytest.raises(ReadError, match="this raw dump cannot be written"):
        dump.write(0x10000, b"x", "word")
    with pytest.raises(ReadError, match="not inside the RAM"):
        dump.read(0x120000, 4, "beyond its end")


def test_a_dump_without_a_screen_says_so(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(bytes(0x120000))
    with pytest.raises(Unreachable, match="does not contain the screen"):
        RawDump(path).screen()


def test_a_dump_may_begin_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(pattern(0x10000, 0x110000))
    dump = RawDump(path, 0x10000)
    assert dump.ranges == ((0x10000, 0xA0000), (0x100000, 0x120000))
    assert dump.read(0x10040, 32, "image header") == pattern(0x10040, 32)
    assert dump.screen() == pattern(0xB8000, 4000)
    for address in (0xFFFF, 0x120000):
        with pytest.raises(ReadError, match="not inside the RAM of this raw dump"):
            dump.read(address, 1, "byte")
    with pytest.raises(Unreachable, match="does not contain the screen"):
        RawDump(path, 0x200000).screen()
    for base in (-1, 1 << 32):
        with pytest.raises(UsageError, match="--base takes an address below 4 GiB"):
            RawDump(path, base)
    with pytest.raises(BadData, match="larger than a 32-bit machine's memory"):
        RawDump(path, (1 << 32) - 16)


def test_an_empty_dump_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(b"")
    with pytest.raises(BadData, match="is empty"):
        RawDump(tmp_path / "dump")


@pytest.mark.parametrize("text", ["tcp:host", "tcp:host:port", "tcp:host:0", "tcp:h:70000", "unix:", "serial:x"])
def test_a_malformed_stub_address_is_explained(text: str) -> None:
    with pytest.raises(Exception, match="write tcp:HOST:PORT or unix:PATH"):
        GdbStub.connect(text)
