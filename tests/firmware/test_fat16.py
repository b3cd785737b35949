"""Does the guest read FAT16 disks, its own and mtools', and say what is wrong with damaged ones, without hanging?"""

from __future__ import annotations

import contextlib
import itertools
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_maker import SECTOR, Disk, expected, listed, mtools
from kernel_view import Kernel
from machines import Boot, wait_for

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.command import Wiring, command_line
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch

HELD = RootSettings(hold=1)  # it waits before its run, and costs the host nothing

TEXTS = {"TEST.TXT": b"a line of test\n", "README.TXT": b"read me\n"}
BLOCK_SECTORS = 16  # what QEMU's disks give at once
SIZES = (0, 1, 511, 512, 513, 2047, 2048, 2049, 4096, 100_000)


def content(name: str, size: int) -> bytes:
    return random.Random(name).randbytes(size)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """More than one sector of directory entries, of sizes around those of sectors and clusters."""
    names = [f"FILE{n}.BIN" for n in range(60)]
    return TEXTS | {name: content(name, SIZES[n % len(SIZES)]) for n, name in enumerate(names)}


@pytest.fixture
def log_of(booted: Boot, tmp_path: Path) -> Any:
    """What the guest prints until its modules are loaded, with a disk."""

    def boot(disk: Disk, size: int | None = None) -> str:
        machine = booted("modules", disk=disk.save(tmp_path / "disk.img", size))
        log = Kernel(machine).log
        machine.stop()
        return log

    return boot


@pytest.fixture(scope="module")
def healthy(image: Path, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    disk = Disk.of(files).save(tmp_path_factory.mktemp("disk") / "disk.img")
    machine = launch(image, disk=disk, settings=HELD)
    wait_for_stage(machine, "registered")
    yield Kernel(machine)
    machine.stop()


def test_every_file_is_listed_and_read(healthy: Kernel, files: dict[str, bytes]) -> None:
    assert "[FAT16] Initialized successfully\n" in healthy.log
    assert listed(healthy.log) == expected(files)
    assert f"[FAT16-TEST] {len(files)} files\n" in healthy.log


def test_the_texts_are_shown_and_a_missing_file_is_reported(healthy: Kernel) -> None:
    assert "a line of test\n[FAT16-TEST] TEST.TXT: 15 bytes\n" in healthy.log
    assert "read me\n[FAT16-TEST] README.TXT: 8 bytes\n" in healthy.log
    assert "[FAT16] MISSING.TXT: no such file\n[FAT16-TEST] A missing file is reported  [OK]\n" in healthy.log


def test_the_state_of_the_volume_is_what_the_root_points_to(healthy: Kernel, files: dict[str, bytes]) -> None:
    disk = Disk.of(files)
    state = healthy.record("fat16_fs_t", healthy.root.fat16)
    assert state.boot_sector == disk.boot
    assert (state.fat_start, state.root_dir_start, state.data_start) == (1, disk.root_start, disk.data_start)
    assert (state.total, state.root_dir_sectors, state.drive) == (32768, 32, 1)
    assert state.fat_cached == 1
    table = bytes(disk.image[SECTOR : SECTOR * (1 + disk.boot.sectors_per_fat)])
    assert healthy.read(state.fat_cache, len(table)) == table


def test_reads_are_events_with_their_sectors(healthy: Kernel, files: dict[str, bytes]) -> None:
    disk = Disk.of(files)
    reads = [tuple(event.arg[:3]) for event in healthy.events_of("DISK")]
    assert reads[:2] == [(0, 1, 0), (1, disk.boot.sectors_per_fat, 0)]
    sectors = {lba + n for lba, count, _ in reads for n in range(count)}
    assert {disk.sector_of(cluster) for name in files for cluster in disk.chain(name)} <= sectors
    assert all(status == 0 for _, _, status in reads)


def test_a_volume_made_by_mtools_with_deleted_fragmented_and_hidden_files(log_of: Any, tmp_path: Path) -> None:
    """mformat chooses other cluster sizes and tables; mtools write long names, directories, holes."""
    image = tmp_path / "mtools.img"
    image.write_bytes(bytes(8 << 20))
    mtools("mformat", "-i", image, "-T", "16384", "-h", "16", "-s", "63", "-c", "1", "-v", "LABEL", "::")
    first = TEXTS | {f"S{n}.BIN": content(f"S{n}.BIN", 700) for n in range(40)}
    for name, data in first.items():
        (tmp_path / name).write_bytes(data)
        mtools("mcopy", "-i", image, tmp_path / name, "::")
    for n in range(0, 40, 2):
        mtools("mdel", "-i", image, f"::S{n}.BIN")
        del first[f"S{n}.BIN"]
    mtools("mmd", "-i", image, "::FOLDER")
    large = {"LARGE.BIN": content("LARGE.BIN", 60_000)}
    (tmp_path / "a long name.bin").write_bytes(large["LARGE.BIN"])
    mtools("mcopy", "-i", image, tmp_path / "a long name.bin", "::")
    disk = Disk(image.read_bytes())
    chain = disk.chain("ALONGN~1.BIN")
    assert any(after != before + 1 for before, after in itertools.pairwise(chain)), "not fragmented"
    assert disk.boot.sectors_per_cluster != 4
    there = first | {"ALONGN~1.BIN": large["LARGE.BIN"]}
    log = log_of(disk)
    assert listed(log) == expected(there)
    assert f"[FAT16-TEST] {len(there)} files\n" in log


def test_each_damaged_file_is_told_and_the_others_are_read(log_of: Any) -> None:
    good = TEXTS | {"GOOD.BIN": content("GOOD.BIN", 5000)}
    bad = ("LOOP", "SELF", "LATELOOP", "BAD", "OUTSIDE", "FREE", "FIRST", "ENDED", "HUGE", "EMPTY0")
    disk = Disk.of({f"{name}.BIN": content(name, 10_000) for name in bad} | good)
    chains = {name: disk.chain(f"{name}.BIN") for name in bad}
    disk.set_fat(chains["LOOP"][2], chains["LOOP"][0])
    disk.set_fat(chains["SELF"][0], chains["SELF"][0])
    disk.set_fat(chains["LATELOOP"][-1], chains["LATELOOP"][0])
    disk.set_fat(chains["BAD"][1], 0xFFF7)
    disk.set_fat(chains["OUTSIDE"][1], disk.clusters + 2)
    disk.set_fat(chains["FREE"][1], 0)
    disk.set_entry("FIRST.BIN", "first_cluster", 0xFFEF)
    disk.set_fat(chains["ENDED"][1], 0xFFFF)
    disk.set_entry("HUGE.BIN", "size", 0xFFFFFFFF)
    disk.set_entry("EMPTY0.BIN", "first_cluster", 0)
    log = log_of(disk)
    for line in (
        "LOOP.BIN: its cluster chain runs in a loop",
        "SELF.BIN: its cluster chain runs in a loop",
        "LATELOOP.BIN: its cluster chain runs in a loop",
        "BAD.BIN: bad cluster 0xfff7: marked unusable",
        f"OUTSIDE.BIN: bad cluster 0x{disk.clusters + 2:04x}: outside the volume",
        "FREE.BIN: bad cluster 0x0000: it is free",
        "FIRST.BIN: bad cluster 0xffef: outside the volume",
        "ENDED.BIN: truncated, 4096 of 10000 bytes are there",
        "HUGE.BIN: a size of 4294967295 bytes cannot be right",
        "EMPTY0.BIN: bad cluster 0x0000: it is free",
    ):
        assert log.count(f"[FAT16] {line}\n") == 1, line
    assert listed(log) == expected(good)
    assert f"[FAT16-TEST] {len(bad) + len(good)} files\n" in log


def test_control_characters_in_a_name_do_not_reach_the_console(log_of: Any) -> None:
    disk = Disk.of(TEXTS | {"EVIL.BIN": b"x"})
    at = disk.entry_at("EVIL.BIN")
    disk.image[at : at + 4] = b"\x1b[2J"
    log = log_of(disk)
    assert "\x1b" not in log
    assert "?[2J.BIN: not an 8.3 file name" in log


BOOT_SECTORS = {
    "no boot sector signature (0xAA55)": lambda disk: struct.pack_into("<H", disk.image, 510, 0),
    "a sector is not 512 bytes": lambda disk: disk.set_boot("bytes_per_sector", "<H", 4096),
    "sectors per cluster is not a power of two": lambda disk: disk.set_boot("sectors_per_cluster", "<B", 0),
    "it has no FAT": lambda disk: disk.set_boot("fat_count", "<B", 0),
    "it has no root directory": lambda disk: disk.set_boot("root_entries", "<H", 0),
    "it is smaller than its own tables": lambda disk: disk.set_boot("sectors16", "<H", 90),
    "its number of clusters is not that of FAT16": lambda disk: disk.set_boot("sectors16", "<H", 9000),
    "its FAT is too small for its clusters": lambda disk: disk.set_boot("sectors_per_fat", "<H", 20),
}


@pytest.mark.parametrize("reason", BOOT_SECTORS)
def test_a_damaged_boot_sector_is_told_and_the_embedded_modules_run(log_of: Any, reason: str) -> None:
    disk = Disk.of(TEXTS)
    BOOT_SECTORS[reason](disk)
    log = log_of(disk)
    assert f"[FAT16] Not a FAT16 volume: {reason}\n" in log
    assert "[FAT16] Initialized" not in log
    assert "[TEST 1] Simple Sum Module\n  Result: 5050 (expected: 5050)\n  [OK] Test passed!\n" in log


def test_a_disk_of_noise_is_refused(log_of: Any) -> None:
    disk = Disk(random.Random(5).randbytes(1 << 20))
    assert "[FAT16] Not a FAT16 volume: no boot sector signature (0xAA55)\n" in log_of(disk)


def test_what_lies_beyond_a_disk_cut_short_is_an_io_error(booted: Boot, tmp_path: Path) -> None:
    disk = Disk.of(TEXTS | {"GOOD.BIN": content("GOOD.BIN", 5000), "CUT.BIN": content("CUT.BIN", 40_000)})
    first, *_ = chain = disk.chain("CUT.BIN")
    end, asked = disk.sector_of(chain[3]), disk.sector_of(first)
    machine = booted("modules", disk=disk.save(tmp_path / "disk.img", end * SECTOR))
    kernel = Kernel(machine)
    assert f"[FAT16] The volume has 32768 sectors, the disk only {end}: " in kernel.log
    sectors = f"{asked} to {asked + BLOCK_SECTORS - 1}"
    assert f"[ATA] Reading sectors {sectors} failed: I/O error (status 0x41, error 0x04)\n" in kernel.log
    assert "[FAT16] CUT.BIN: cannot be read from byte 0 on\n" in kernel.log
    assert set(listed(kernel.log)) == {"TEST.TXT", "README.TXT", "GOOD.BIN"}
    failed = [event for event in kernel.events_of("DISK") if event.arg[2]]
    assert [(event.arg[0], event.arg[2]) for event in failed] == [(asked, 2)]


def test_without_a_disk_the_embedded_modules_are_used(image: Path, launched: Boot, tmp_path: Path) -> None:
    alone = Path(shutil.copy(image, tmp_path))  # with no disk of modules beside it
    machine = launched(alone)
    wait_for_stage(machine, "modules")
    log = Kernel(machine).log
    assert "[DISK] Attempting to load modules from FAT16...\n[DISK] No disk: the embedded modules are used\n" in log
    assert "[FAT16" not in log and "[ATA]" not in log


@contextlib.contextmanager
def wired(image: Path, folder: Path, *drive: str) -> Iterator[Path]:
    """A machine whose second disk `launch` cannot make; yields its serial log."""
    folder.mkdir()
    wiring = Wiring("odd", image, folder / "ram", 64, folder / "serial", folder / "gdb", folder / "qmp")
    qemu = subprocess.Popen([*command_line(wiring), *drive], stderr=subprocess.PIPE)
    try:
        yield wiring.serial
    finally:
        qemu.kill()
        qemu.wait()


def log_with(serial: Path, text: str) -> str:
    wait_for(lambda: serial.exists() and text in serial.read_text("latin-1"), text)
    return serial.read_text("latin-1").replace("\r\n", "\n")


def test_a_cd_drive_in_the_disks_place_is_no_disk(image: Path, tmp_path: Path) -> None:
    medium = Disk.of(TEXTS).save(tmp_path / "cd.iso")
    drive = ("-drive", f"file={medium},format=raw,index=1,if=ide,media=cdrom")
    with wired(image, tmp_path / "vm", *drive) as serial:
        log = log_with(serial, "[TEST 1]")
    assert "[DISK] No disk: the embedded modules are used\n" in log


def test_a_sector_that_the_disk_cannot_read_is_told_and_the_others_are_read(image: Path, tmp_path: Path) -> None:
    disk = Disk.of(TEXTS | {"HURT.BIN": content("HURT.BIN", 9_900), "GOOD.BIN": content("GOOD.BIN", 9_000)})
    first = disk.sector_of(disk.chain("HURT.BIN")[0])
    bad = first + BLOCK_SECTORS + 1
    faults = tmp_path / "faults"
    faults.write_text(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nsector = "{bad}"\nonce = "off"\n')
    path = disk.save(tmp_path / "disk.img")
    drive = ("-drive", f"file=blkdebug:{faults}:{path},format=raw,index=1,if=ide,rerror=report,snapshot=off")
    with wired(image, tmp_path / "vm", *drive) as serial:
        log = log_with(serial, "[TEST 1]")
    assert f"[ATA] Reading sectors {first + BLOCK_SECTORS} to {bad + 1} failed: I/O error" in log
    assert f"[FAT16] HURT.BIN: cannot be read from byte {BLOCK_SECTORS * SECTOR} on\n" in log
    good = {"GOOD.BIN": content("GOOD.BIN", 9_000)} | TEXTS
    assert listed(log) == expected(good)


def test_a_disk_that_never_answers_costs_seconds_not_for_ever(image: Path, tmp_path: Path) -> None:
    path = Disk.of(TEXTS).save(tmp_path / "disk.img")
    slow = "throttling.bps-total=16"
    drive = ("-drive", f"file={path},format=raw,index=1,if=ide,snapshot=on,{slow}")
    with wired(image, tmp_path / "vm", *drive) as serial:
        log = log_with(serial, "[TEST 1]")
    assert "no answer in time" in log
    assert "[DISK] No disk: the embedded modules are used\n" in log
