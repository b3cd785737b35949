"""What do exhibits on disk need: copies of the built images, changed by symbol or by byte, with a CRC that is right."""

from __future__ import annotations

import secrets
import shutil
import struct
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from machines import QUICK
from stock_raw import nm

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.bitstream import Producer, read_producer
from bareflow_gdb.qemu.image import SECTOR, RootSettings, image_crc, patched_copy, put

BASE = 0x10000
KERNEL = layouts.const("BF_IMAGE_LBA") * SECTOR
CHAR6 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._"


def _put_bits(data: bytes, at: int, width: int, value: int) -> bytes:
    bits = int.from_bytes(data, "little")
    return (bits & ~((1 << width) - 1 << at) | value << at).to_bytes(len(data), "little")


def of_another_llvm(bitcode: bytes, version: str, epoch: int) -> bytes:
    """Its identification block says `version` (two digits) and `epoch` (0 or 1), as a later LLVM would have written.

    llvm-dis of LLVM 19 and 22 refuse epoch 1 ("Incompatible epoch: Bitcode '1' vs current: '0'"); of another producer
    alone they say nothing while they know each of its records.
    """
    bits, sought = int.from_bytes(bitcode[:256], "little"), sum(CHAR6.index(c) << 6 * i for i, c in enumerate("LLVM"))
    at = next(at for at in range(2048) if bits >> at & 0xFFFFFF == sought)
    made = _put_bits(bitcode, at + 24, 12, sum(CHAR6.index(c) << 6 * i for i, c in enumerate(version)))
    was = read_producer(made)
    if epoch == was.epoch:
        return made
    turned = (_put_bits(made, bit, 1, 1) for bit in range(at + 60, at + 400))
    return next(one for one in turned if _says(one) == replace(was, epoch=epoch))


def _says(bitcode: bytes) -> Producer | None:
    try:
        return read_producer(bitcode)
    except BareflowError:
        return None


@dataclass
class Hall:
    """A folder in which one image lies, under a name that says nothing, without its ELF."""

    firmware: Path
    museum: Path
    """Where `make -C firmware museum` puts what it builds."""
    folder: Path
    image: Path = field(init=False)
    disk: Path | None = None

    def take(self, name: str, *, with_disk: bool = False) -> None:
        """One of the images that are built, at thresholds that keep its run short."""
        source = next(place for place in (self.museum / name, self.firmware / name) if place.is_file())
        self.image = self.folder / f"{secrets.token_hex(6)}.img"
        if name.startswith("stock"):
            shutil.copy(source, self.image)
        else:
            patched_copy(source, RootSettings(thresholds=QUICK), self.image)
        if with_disk:
            beside = source.with_name("fat16.img")
            self.take_disk(beside if beside.is_file() else self.firmware / "fat16.img")

    def take_disk(self, source: Path) -> None:
        self.disk = self.folder / f"{secrets.token_hex(6)}.img"
        shutil.copy(source, self.disk)

    def patch(self, at: int, data: bytes) -> None:
        """Bytes of the disk at an offset."""
        disk = bytearray(self.image.read_bytes())
        disk[at : at + len(data)] = data
        self.image.write_bytes(disk)
        self.seal()

    def code(self, elf: str, symbol: str, data: bytes, skip: int = 0) -> None:
        """Bytes of a function of the kernel."""
        self.patch(KERNEL + nm(self.firmware / elf)[symbol][0] - BASE + skip, data)

    def replace(self, old: bytes, new: bytes, start: int = 0) -> None:
        """Bytes that are there once, from an offset on."""
        disk = self.image.read_bytes()
        assert disk.count(old, start) >= 1, old.hex()
        self.patch(disk.index(old, start), new)

    def seal(self) -> None:
        """Makes the image's CRC right, where it has one."""
        disk = bytearray(self.image.read_bytes())
        if disk[KERNEL + 4] != 0xEB:
            return
        (size,) = struct.unpack_from("<I", disk, KERNEL + layouts.offset("bf_image_header", "image_bytes"))
        kernel = bytearray(disk[KERNEL : KERNEL + size])
        put(kernel, "bf_image_header", 0, crc=image_crc(bytes(kernel)))
        disk[KERNEL : KERNEL + size] = kernel
        self.image.write_bytes(disk)

    def file(self, name: str) -> bytes:
        """A file of the second disk."""
        assert self.disk is not None
        words = ["mtype", "-i", str(self.disk), f"::{name}"]
        return subprocess.run(words, capture_output=True, check=True).stdout

    def put_file(self, name: str, content: bytes) -> None:
        source = self.folder / "content"
        source.write_bytes(content)
        subprocess.run(["mcopy", "-o", "-i", str(self.disk), str(source), f"::{name}"], check=True)
        source.unlink()

    def circle(self, name: str, *, first: bool = False) -> None:
        """The second cluster of a file leads back to its first; or the first one to itself."""
        assert self.disk is not None
        disk = bytearray(self.disk.read_bytes())
        boot = layouts.unpack("fat16_boot_sector", bytes(disk[: layouts.size("fat16_boot_sector")]))
        fat = boot.reserved_sectors * SECTOR
        root = fat + boot.fat_count * boot.sectors_per_fat * SECTOR
        stem, _, end = name.partition(".")
        at = disk.index(stem.ljust(8).encode() + end.ljust(3).encode(), root)
        (begin,) = struct.unpack_from("<H", disk, at + 26)
        (second,) = struct.unpack_from("<H", disk, fat + 2 * begin)
        assert 2 <= second < 0xFFF0, f"{name} has one cluster"
        last = begin if first else second
        for copy in range(boot.fat_count):
            struct.pack_into("<H", disk, fat + copy * boot.sectors_per_fat * SECTOR + 2 * last, begin)
        self.disk.write_bytes(disk)
