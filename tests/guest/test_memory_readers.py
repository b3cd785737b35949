"""Every reader gives the bytes that QEMU's own `pmemsave` gives for the real guest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, Memory
from bareflow_gdb.qemu.machine import Machine

REPOSITORY = Path(__file__).parents[2]
COMPARED = 9 << 20
GDBS = [path for path in ("/usr/bin/gdb", str(Path(sys.executable).parent / "gdb")) if shutil.which(path)]


@pytest.fixture
def paused(idle_machine: Machine) -> Iterator[Machine]:
    idle_machine.pause()
    yield idle_machine
    idle_machine.resume()


@pytest.fixture
def truth(paused: Machine) -> bytes:
    """The first megabytes of physical memory, as QEMU itself saves them."""
    return paused.read_physical(0, COMPARED)


def equal(memory: Memory, truth: bytes) -> bool:
    low = memory.read(0, DEVICES_START, "low memory")
    high = memory.read(DEVICES_END, COMPARED - DEVICES_END, "high memory")
    return low == truth[:DEVICES_START] and high == truth[DEVICES_END:]


def test_the_ram_file(paused: Machine, truth: bytes) -> None:
    assert equal(paused.memory(), truth)
    assert paused.memory().screen() == truth[0xB8000 : 0xB8000 + 4000]


def test_the_gdbstub(paused: Machine, truth: bytes) -> None:
    with GdbStub.connect(f"unix:{paused.gdb_socket}") as stub:
        assert equal(stub, truth)
        assert stub.screen() == truth[0xB8000 : 0xB8000 + 4000]
    # Detaching let it run; the fixture's other users expect it paused.
    paused.pause()


def test_an_elf_core(paused: Machine, truth: bytes, tmp_path: Path) -> None:
    paused.dump_core(tmp_path / "core")
    core = ElfCore(tmp_path / "core")
    assert equal(core, truth)
    assert core.screen() == truth[0xB8000 : 0xB8000 + 4000]
    assert core.screen()[::2].strip(b" \0")


def test_a_raw_dump(truth: bytes, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(truth)
    dump = RawDump(tmp_path / "dump")
    assert equal(dump, truth)
    assert dump.screen() == truth[0xB8000 : 0xB8000 + 4000]


@pytest.mark.parametrize("gdb", GDBS)
def test_the_gdb_inferior_and_its_packet_count(paused: Machine, gdb: str, tmp_path: Path) -> None:
    """gdb's own log of the packets it sent is the independent count."""
    packets = tmp_path / "packets"
    environment = {"REPOSITORY": str(REPOSITORY), "PACKETS": str(packets), "GDB_SOCKET": str(paused.gdb_socket)}
    done = subprocess.run(
        [gdb, "-nx", "-q", "-batch", "-x", str(Path(__file__).with_name("inferior_in_gdb.py"))],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stdout + done.stderr
    result = json.loads(lines[0].removeprefix("RESULT"))
    ram = paused.memory()
    assert result["header"] == ram.read(0x10000, 32, "image header").hex()
    assert result["again"] == ram.read(0x10000, 64, "image header").hex()
    assert result["heap"] == zlib.crc32(ram.read(0x100000, 1 << 17, "heap"))
    assert result["written"] == zlib.crc32(b"9876543210" * 1000) == zlib.crc32(ram.read(0x700000, 10000, "bytes"))
    assert result["screen"] == zlib.crc32(paused.read_screen())
    assert result["refused"].startswith("cannot read 4 bytes at 0x00010000 (image header): ")
    assert result["counts"] == [1, 0, 64, 5]
    log = packets.read_text(errors="replace")
    sent = log[log.index("$m10000,800#") - 1 :]
    assert result["packets"] == sum(sent.count(f"+${letter}") for letter in "mMX")
