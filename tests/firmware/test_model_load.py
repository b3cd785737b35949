"""Does the guest load a packed model from its second disk, by either way of reading, and say why where it cannot?"""

from __future__ import annotations

import random
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_view import Kernel
from machines import Boot, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import fat_image
from bareflow_gdb.build.fat_image import SECTOR, DiskFile, Geometry, fat16_image, write_image
from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.command import Wiring, command_line

BASE = layouts.const("BF_WEIGHTS_BASE")
TEXT = DiskFile("TEST.TXT", b"a line of test\n")


def packed(*contents: bytes) -> bytes:
    """A packed model with these parts, as far as a loader looks at it."""
    head = layouts.size("bf_model_header") + len(contents) * layouts.size("bf_model_part")
    at = -(-head // 64) * 64
    table, body = b"", b""
    for number, content in enumerate(contents):
        table += layouts.pack(
            "bf_model_part",
            name=f"blk.{number}.attn_q.weight".encode(),
            kind=layouts.const("BF_MODEL_ATTN_Q"),
            offset=at + len(body),
            bytes=len(content),
            crc=zlib.crc32(content),
        )
        body += content.ljust(-(-len(content) // 64) * 64, b"\0")
    words: dict[str, Any] = {
        "magic": layouts.const("BF_MODEL_MAGIC"),
        "version": layouts.const("BF_MODEL_VERSION"),
        "parts": len(contents),
        "file_bytes": at + len(body),
    }
    crc = zlib.crc32(layouts.pack("bf_model_header", **words) + table)
    return (layouts.pack("bf_model_header", crc=crc, **words) + table).ljust(at, b"\0") + body


SMALL = packed(random.Random(1).randbytes(300_001), random.Random(2).randbytes(70_000))
LARGE = packed(random.Random(3).randbytes(9 << 20))


class Hole(bytes):
    """Zeros that take no room: as long as it says."""

    def __len__(self) -> int:
        return 1_900_000_000


@pytest.fixture
def loaded(booted: Boot, tmp_path: Path) -> Callable[..., Kernel]:
    def boot(image: bytes, **options: Any) -> Kernel:
        disk = tmp_path / "disk.img"
        disk.write_bytes(image)
        return Kernel(booted("registered", disk=disk, hold=1, **options))

    return boot


def record(kernel: Kernel) -> Any:
    return kernel.record("bf_model_record", layouts.const("BF_MODEL_RECORD_ADDRESS"))


def state(kernel: Kernel) -> str:
    known = layouts.enum_values("bf_model_state")
    return next(name for name, value in known.items() if value == record(kernel).state)


def wrong_with_model(kernel: Kernel) -> str:
    """What `status` says."""
    status = Guest.attach(kernel.memory).kernel().status()
    assert not status.ok
    return next(problem for problem in status.problems if "model" in problem)


def test_a_model_at_the_end_of_a_volume_of_2_gb_comes_by_dma(booted: Boot, tmp_path: Path) -> None:
    files = [TEXT, DiskFile("GAP.BIN", Hole()), DiskFile("STORY.BFM", LARGE)]
    geometry = Geometry(64, 256, Geometry(64, 256).data_start + 64 * 65_524)
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        for at, piece in fat_image._pieces(geometry, files):
            if not isinstance(piece, Hole):
                file.seek(at)
                file.write(piece)
        file.truncate(geometry.sectors * SECTOR)
    assert disk.stat().st_blocks * 512 < 20 << 20 < 2 << 30 < disk.stat().st_size + (64 << 20)
    kernel = Kernel(booted("registered", disk=disk, hold=1))
    assert "  GAP.BIN      1900000000 bytes, not read here\n" in kernel.log
    assert [f"[MODEL] STORY.BFM: {n}% of {len(LARGE)} bytes\n" in kernel.log for n in (25, 50, 75)] == [True] * 3
    assert f"[MODEL] STORY.BFM: {len(LARGE)} bytes at 0x00800000 by DMA in " in kernel.log
    model = record(kernel)
    assert (state(kernel), model.transfer) == ("BF_MODEL_STATE_LOADED", layouts.const("BF_TRANSFER_DMA"))
    assert model.bytes == model.loaded == len(LARGE) and model.tsc
    assert kernel.read(BASE, len(LARGE)) == LARGE
    largest = max(event.arg[1] for event in kernel.events_of("DISK"))
    assert largest == 2048
    status = Guest.attach(kernel.memory).kernel().status()
    assert status.model == f"{len(LARGE):,} bytes at 0x00800000 by DMA, every CRC right"
    assert not [problem for problem in status.problems if "model" in problem]
    kernel.machine.pause()
    left = kernel.machine.dump_core(tmp_path / "core")
    first = len(LARGE) - (9 << 20)
    assert left == (BASE + first, BASE + len(LARGE))
    core = ElfCore(tmp_path / "core")
    assert core.notes == [f"{core.path} was made without 0x{left[0]:08x}-0x{left[1]:08x}, where a model's weights were"]
    for start, size in ((0x600, 0x9FA00), (0x100000, 0x700000), (left[1], (64 << 20) - left[1])):
        assert core.read(start, size, "core") == kernel.read(start, size)
    with pytest.raises(ReadError):
        core.read(left[0], 4, "weights")
    assert core.read(BASE, first, "head") == LARGE[:first]
    assert core.cpu().general == kernel.machine.memory().cpu().general
    assert (tmp_path / "core").stat().st_size < (64 << 20) + (17 << 20) - len(LARGE)


def by_hand(image: Path, folder: Path, line: str, *more: str, machine: str = "pc") -> str:
    """What a machine prints that `launch` cannot make, when the line is there and its model is in memory."""
    wiring = Wiring(
        "by-hand", image, folder / "ram", 64, folder / "serial", folder / "gdb", folder / "qmp", cpu="qemu32"
    )
    words = [
        f"{machine},memory-backend=ram" if word == "pc,memory-backend=ram" else word for word in command_line(wiring)
    ]
    qemu = subprocess.Popen([*words, *more], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: wiring.serial.exists() and line in wiring.serial.read_text("latin-1"), line)
        assert QemuRam(wiring.ram).read(BASE, len(SMALL), "model") == SMALL
        return wiring.serial.read_text("latin-1").replace("\r\n", "\n")
    finally:
        qemu.kill()
        qemu.communicate()


def test_without_a_bus_master_it_comes_by_pio(image: Path, tmp_path: Path) -> None:
    """A machine without PCI, so without a PIIX."""
    disk = tmp_path / "disk.img"
    write_image([TEXT, DiskFile("STORY.BFM", SMALL)], disk)
    drive = ("-drive", f"file={disk},format=raw,index=1,if=ide,snapshot=on")
    line = f"[MODEL] STORY.BFM: {len(SMALL)} bytes at 0x00800000 by PIO in "
    by_hand(image, tmp_path, line, *drive, machine="isapc")


def test_what_the_bus_master_does_not_read_the_cpu_reads(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    write_image([TEXT, DiskFile("STORY.BFM", SMALL)], disk)
    bad = Geometry().data_start + 400
    faults = tmp_path / "faults"
    # The first read of that sector fails, which is the one by DMA of the boot log's test.
    faults.write_text(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "{bad}"\nonce = "on"\n')
    drive = ("-drive", f"file=blkdebug:{faults}:{disk},format=raw,index=1,if=ide,rerror=report,snapshot=off")
    line = f"[MODEL] STORY.BFM: {len(SMALL)} bytes at 0x00800000 by PIO in "
    log = by_hand(image, tmp_path, line, *drive)
    assert "[ATA] The bus master does not read sector " in log
    assert ", the CPU does: from here on without it\n" in log


def test_what_the_disk_cannot_read_half_way_is_told_everywhere(loaded: Callable[..., Kernel]) -> None:
    image = fat16_image([TEXT, DiskFile("STORY.BFM", LARGE)])
    kernel = loaded(image[: 6 << 20])
    model = record(kernel)
    assert state(kernel) == "BF_MODEL_STATE_DISK_ERROR"
    assert 4 << 20 < model.loaded < 6 << 20 and model.bytes == len(LARGE)
    for line in ("[ATA] Reading sectors ", "[MODEL] STORY.BFM is not used: the disk could not be read\n"):
        assert line in kernel.log
    told = f"the disk could not be read after {model.loaded:,} of {len(LARGE):,} bytes of the model"
    assert wrong_with_model(kernel).startswith(told)
    assert "[TEST 1] Simple Sum Module\n  Result: 5050 (expected: 5050)\n  [OK] Test passed!\n" in kernel.log


def test_too_little_ram_is_told_before_anything_is_read(loaded: Callable[..., Kernel]) -> None:
    kernel = loaded(fat16_image([TEXT, DiskFile("STORY.BFM", LARGE)]), memory_mib=16)
    assert (state(kernel), record(kernel).loaded) == ("BF_MODEL_STATE_NO_RAM", 0)
    assert "[MODEL] STORY.BFM needs 18 MiB of RAM, the machine has 1" in kernel.log
    assert "[MODEL] STORY.BFM is not used: there is too little RAM for it\n" in kernel.log
    problem = wrong_with_model(kernel)
    assert "`bareflow run` gives a machine enough" in problem


def test_a_damaged_model_is_told_with_its_part(loaded: Callable[..., Kernel]) -> None:
    damaged = bytearray(SMALL)
    damaged[-5000] ^= 1
    kernel = loaded(fat16_image([TEXT, DiskFile("STORY.BFM", bytes(damaged))]))
    assert state(kernel) == "BF_MODEL_STATE_DAMAGED"
    assert "[MODEL] STORY.BFM: part blk.1.attn_q.weight has CRC 0x" in kernel.log
    assert "[MODEL] STORY.BFM is not used: it is damaged\n" in kernel.log
    problem = wrong_with_model(kernel)
    assert "is damaged; `log` says where" in problem


def test_a_disk_without_a_model_is_no_fault(loaded: Callable[..., Kernel], tmp_path: Path) -> None:
    write_image([TEXT], tmp_path / "plain.img")
    kernel = loaded((tmp_path / "plain.img").read_bytes())
    assert state(kernel) == "BF_MODEL_STATE_NO_FILE"
    assert "[MODEL] None: the disk has no model (NAME.BFM)\n" in kernel.log
    status = Guest.attach(kernel.memory).kernel().status()
    assert status.model.startswith("none: ")
    assert not [problem for problem in status.problems if "model" in problem]
