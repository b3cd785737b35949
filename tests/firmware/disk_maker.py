"""A FAT16 image taken apart and damaged: where are its tables, and what does each file's chain hold?"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import DiskFile, fat16_image

SECTOR = 512
ENTRY = 32
LISTED = re.compile(r"^  (\S+) +(\d+) bytes, CRC-32 0x([0-9a-f]{8})$", re.MULTILINE)


class Disk:
    """The bytes of a volume, to be changed and saved."""

    def __init__(self, image: bytes) -> None:
        self.image = bytearray(image)
        self._boot: Any = None

    @classmethod
    def of(cls, files: dict[str, bytes]) -> Disk:
        return cls(fat16_image([DiskFile(name, content) for name, content in files.items()]))

    @property
    def boot(self) -> Any:
        if self._boot is None:
            self._boot = layouts.unpack("fat16_boot_sector_t", bytes(self.image[:SECTOR]))
        return self._boot

    @property
    def root_start(self) -> int:
        boot = self.boot
        return int(boot.reserved_sectors + boot.fat_count * boot.sectors_per_fat)

    @property
    def data_start(self) -> int:
        return self.root_start + int(self.boot.root_entries) * ENTRY // SECTOR

    @property
    def clusters(self) -> int:
        boot = self.boot
        return int(((boot.sectors16 or boot.sectors32) - self.data_start) // boot.sectors_per_cluster)

    def sector_of(self, cluster: int) -> int:
        return self.data_start + (cluster - 2) * int(self.boot.sectors_per_cluster)

    def entry_at(self, name: str) -> int:
        stem, _, extension = name.partition(".")
        start = self.root_start * SECTOR
        for at in range(start, start + int(self.boot.root_entries) * ENTRY, ENTRY):
            if self.image[at : at + 11] == f"{stem:8}{extension:3}".encode():
                return at
        raise AssertionError(f"{name} is not in the root directory")

    def set_entry(self, name: str, field: str, value: int) -> None:
        at = self.entry_at(name) + layouts.offset("fat16_dir_entry_t", field)
        width = {"attributes": "<B", "first_cluster": "<H", "size": "<I"}[field]
        struct.pack_into(width, self.image, at, value)

    def set_boot(self, field: str, form: str, value: int) -> None:
        struct.pack_into(form, self.image, layouts.offset("fat16_boot_sector_t", field), value)
        self._boot = None

    def fat(self, cluster: int) -> int:
        value: int = struct.unpack_from("<H", self.image, self._fat_at(cluster, 0))[0]
        return value

    def set_fat(self, cluster: int, value: int) -> None:
        for copy in range(self.boot.fat_count):
            struct.pack_into("<H", self.image, self._fat_at(cluster, copy), value)

    def _fat_at(self, cluster: int, copy: int) -> int:
        boot = self.boot
        return int(boot.reserved_sectors + copy * boot.sectors_per_fat) * SECTOR + 2 * cluster

    def chain(self, name: str) -> list[int]:
        at = self.entry_at(name)
        cluster = struct.unpack_from("<H", self.image, at + 26)[0]
        found = []
        while 2 <= cluster < 0xFFF7 and cluster not in found:
            found.append(cluster)
            cluster = self.fat(cluster)
        return found

    def save(self, path: Path, size: int | None = None) -> Path:
        path.write_bytes(bytes(self.image[:size]))
        return path


def version_1(name: str, code: bytes) -> bytes:
    """A stock .mod file: position-independent code, entry 0x30, no signature."""
    header = layouts.pack(
        "module_header_t",
        magic=layouts.const("MODULE_MAGIC"),
        name=name.encode(),
        entry_point=0x30,
        code_size=len(code),
        version=1,
    )
    return header + code


def with_code(image: bytes, at: int, code: bytes) -> bytes:
    """The same module image with other code from an offset on, signed again: `build module` would not make it."""
    start = layouts.size("module_header_t") + at
    changed = image[:start] + code + image[start + len(code) : -32]
    return changed + hashlib.sha256(changed).digest()


def padded(image: bytes, size: int) -> bytes:
    """The same module image made longer: zeros that nothing refers to before its tail, and the signature again."""
    header = layouts.unpack("module_header_t", image)
    tail = layouts.size("module_header_t") + header.code_size - layouts.size("bf_module_tail")
    more = size - len(image)
    longer = bytearray(image[:tail] + bytes(more) + image[tail:-32])
    struct.pack_into("<I", longer, layouts.offset("module_header_t", "code_size"), header.code_size + more)
    return bytes(longer) + hashlib.sha256(longer).digest()


def listed(log: str) -> dict[str, tuple[int, int]]:
    """What the guest read: name → size, CRC-32."""
    return {name: (int(size), int(crc, 16)) for name, size, crc in LISTED.findall(log)}


def expected(files: dict[str, bytes]) -> dict[str, tuple[int, int]]:
    return {name: (len(content), zlib.crc32(content)) for name, content in files.items()}


def mtools(*words: str | Path) -> str:
    """Runs one of the mtools, which know nothing of this project."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
