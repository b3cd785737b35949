"""What is on the second disk? Makes a FAT16 image with the files given, without root and without mounting.

    python -m bareflow_gdb.build.fat_image --output fat16.img primes.O0.mod primes.O1.mod notes.txt=TEST.TXT

A file is called as the kernel looks for it: the first 8 characters of its name, upper case, and the extension
that its kind has (primes.O0.mod: PRIMES.MOD, primes.O2.mod: PRIMES.O2, primes.bc.wrapped: PRIMES.BC). Each lies in one
piece. The volume has 16 MB, or up to 2 GB when the files need more; what is empty of it takes no room. The same files
give the same bytes. Format: Microsoft FAT specification 1.03.
"""

from __future__ import annotations

import mmap
import re
import shlex
import struct
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.build.module import IMAGE_VERSION, read_module
from bareflow_gdb.errors import UsageError
from bareflow_gdb.files import BY_UMASK, replacing
from bareflow_gdb.recompile.machine_code import instructions

SECTOR = 512
RESERVED_SECTORS = 1
FATS = 2
ROOT_ENTRIES = 512
ROOT_SECTORS = ROOT_ENTRIES * 32 // SECTOR
MOST_CLUSTERS = 65524
CLUSTER_SECTORS = (4, 8, 16, 32, 64)
"""2 KB to 32 KB, the largest that every system reads."""

MEDIA = 0xF8  # a fixed disk
CHAIN_END = 0xFFFF
VOLUME_LABEL = b"BAREFLOW   "
VOLUME_ID = 0xBAEF0001
ATTRIBUTE_VOLUME, ATTRIBUTE_ARCHIVE = 0x08, 0x20
FIRST_DAY = 1 << 5 | 1  # 1 January 1980: the image does not depend on when it is made

NAME = re.compile(r"[A-Z0-9_$~-]{1,8}(\.[A-Z0-9_$~-]{1,3})?")
# Which extension do the files of a module get? By how their names end.
KINDS = ((".O0.mod", "MOD"), (".O1.mod", "O1"), (".O2.mod", "O2"), (".O3.mod", "O3"), (".bc.wrapped", "BC"))
RAW_BITCODE = b"BC\xc0\xde"
LOOKED_FOR = (
    ("MODULE_MAGIC", "a module image", ("MOD", "O1", "O2", "O3")),
    ("BITCODE_MAGIC", "wrapped bitcode", ("BC",)),
)
"""What it begins with, and the extensions that the kernel opens it by."""


@dataclass(frozen=True)
class DiskFile:
    """A file of the root directory."""

    name: str
    """8.3, upper case."""
    content: bytes | mmap.mmap


@dataclass(frozen=True)
class Geometry:
    """How a volume is divided; the usual one of 16 MB."""

    cluster_sectors: int = 4
    fat_sectors: int = 32
    sectors: int = 32768

    @property
    def cluster_bytes(self) -> int:
        return self.cluster_sectors * SECTOR

    @property
    def root_start(self) -> int:
        return RESERVED_SECTORS + FATS * self.fat_sectors

    @property
    def data_start(self) -> int:
        return self.root_start + ROOT_SECTORS

    @property
    def clusters(self) -> int:
        return (self.sectors - self.data_start) // self.cluster_sectors

    def needed(self, files: Sequence[DiskFile]) -> int:
        """Clusters that the files take."""
        return sum(-(-len(file.content) // self.cluster_bytes) for file in files)


def disk_name(file_name: str) -> str:
    """The 8.3 name of a file; raises UsageError when there is none."""
    stem, _, extension = file_name.rpartition(".") if "." in file_name else (file_name, "", "")
    for ending, kind in KINDS:
        if file_name.endswith(ending):
            stem, extension = file_name.removesuffix(ending), kind
    return checked_name((stem[:8] + (f".{extension}" if extension else "")).upper())


def checked_name(name: str) -> str:
    """The name itself; raises UsageError when it is not 8.3 in upper case."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for a FAT16 disk: up to 8 capital letters, digits or _ - ~ $, "
            "a dot, up to 3 more; give another one as FILE=NAME.EXT"
        )
    return name


def parse_file(text: str) -> DiskFile:
    """FILE or FILE=NAME.EXT, read; raises UsageError, OSError, or LinkError for a module that the guest cannot run."""
    path, equals, name = text.partition("=")
    content = _content(Path(path))
    if not isinstance(content, mmap.mmap):
        _check_module(path, content)
    if equals:
        return DiskFile(checked_name(name.upper()), content)
    name = disk_name(Path(path).name)
    _check_found(path, name, content)
    return DiskFile(name, content)


def _content(path: Path) -> bytes | mmap.mmap:
    """What is too large to be read at once is mapped."""
    if path.is_file() and path.stat().st_size > tool.MOST_INPUT:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return tool.read_input(path)


def _check_found(path: str, name: str, content: bytes | mmap.mmap) -> None:
    """Raises UsageError when the kernel looks for such a file by another name, and would not miss it."""
    stem, _, extension = name.partition(".")
    if content[: len(RAW_BITCODE)] == RAW_BITCODE:
        raise UsageError(
            f"{Path(path).name} is bitcode without the header that the kernel reads; `bareflow build wrap` puts it "
            f"before, and FILE={stem}.BC names the result"
        )
    for magic, what, extensions in LOOKED_FOR:
        if content[:4] == layouts.const(magic).to_bytes(4, "little") and extension not in extensions:
            raise UsageError(
                f"{Path(path).name} is {what}, which the kernel does not look for as {name}; give it as "
                + shlex.quote(f"{path}={stem}.{extensions[0]}")
            )


def _check_module(path: str, content: bytes) -> None:
    """Whoever made the image: the guest calls it, and must be able to execute it. One of version 1 is never called."""
    header = layouts.unpack("module_header_t", content) if len(content) >= layouts.size("module_header_t") else None
    if header is not None and header.magic == layouts.const("MODULE_MAGIC") and header.version == IMAGE_VERSION:
        code = read_module(content).code
        deque(instructions(code, lambda offset: f"{Path(path).name}: code+0x{offset:x}"), maxlen=0)


def fat16_image(files: Sequence[DiskFile]) -> bytes:
    """The image; raises UsageError when two files have one name or when they do not fit."""
    geometry = _geometry(files)
    image = bytearray(geometry.sectors * SECTOR)
    for at, piece in _pieces(geometry, files):
        image[at : at + len(piece)] = piece
    return bytes(image)


def write_image(files: Sequence[DiskFile], out: Path) -> None:
    """The image as a file, in which what is empty takes no room; there whole, or not at all. Raises as above."""
    geometry = _geometry(files)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, BY_UMASK) as partial, partial.open("r+b") as file:
        for at, piece in _pieces(geometry, files):
            file.seek(at)
            file.write(piece)
        file.truncate(geometry.sectors * SECTOR)


def _geometry(files: Sequence[DiskFile]) -> Geometry:
    """The usual one, or one with the smallest clusters that are enough for these files."""
    names: set[str] = set()
    for file in files:
        if file.name in names:
            raise UsageError(f"two files are called {file.name} on the disk; name one of them FILE=NAME.EXT")
        names.add(file.name)
    if len(files) + 1 > ROOT_ENTRIES:
        raise UsageError(f"{len(files)} files do not fit into {ROOT_ENTRIES - 1} directory entries; leave some out")
    usual = Geometry()
    if usual.needed(files) <= usual.clusters:
        return usual
    for cluster_sectors in CLUSTER_SECTORS:
        clusters = Geometry(cluster_sectors).needed(files)
        if clusters <= MOST_CLUSTERS:
            fat_sectors = -(-(clusters + 2) * 2 // SECTOR)
            start = Geometry(cluster_sectors, fat_sectors).data_start
            return Geometry(cluster_sectors, fat_sectors, start + clusters * cluster_sectors)
    raise UsageError(
        f"the files have {sum(len(file.content) for file in files):,} bytes, a FAT16 volume holds 2 GB; leave some out"
    )


def _pieces(geometry: Geometry, files: Sequence[DiskFile]) -> Iterator[tuple[int, bytes | mmap.mmap]]:
    """What is on the volume, each with its offset; between them are zeros."""
    fat = [0xFF00 | MEDIA, CHAIN_END]
    root = _entry(VOLUME_LABEL, ATTRIBUTE_VOLUME, 0, 0)
    for file in files:
        clusters = -(-len(file.content) // geometry.cluster_bytes)
        first = len(fat) if clusters else 0
        fat += range(first + 1, first + clusters)
        fat += [CHAIN_END] if clusters else []
        stem, _, extension = file.name.partition(".")
        root += _entry(f"{stem:8}{extension:3}".encode("ascii"), ATTRIBUTE_ARCHIVE, first, len(file.content))
        if clusters:
            yield geometry.data_start * SECTOR + (first - 2) * geometry.cluster_bytes, file.content
    yield 0, _boot_sector(geometry)
    table = struct.pack(f"<{len(fat)}H", *fat)
    for copy in range(FATS):
        yield (RESERVED_SECTORS + copy * geometry.fat_sectors) * SECTOR, table
    yield geometry.root_start * SECTOR, root


def _boot_sector(geometry: Geometry) -> bytes:
    fields = layouts.pack(
        "fat16_boot_sector_t",
        jump=b"\xeb\x3c\x90",
        oem=b"BAREFLOW",
        bytes_per_sector=SECTOR,
        sectors_per_cluster=geometry.cluster_sectors,
        reserved_sectors=RESERVED_SECTORS,
        fat_count=FATS,
        root_entries=ROOT_ENTRIES,
        sectors16=geometry.sectors if geometry.sectors < 1 << 16 else 0,
        sectors32=geometry.sectors if geometry.sectors >= 1 << 16 else 0,
        media=MEDIA,
        sectors_per_fat=geometry.fat_sectors,
        sectors_per_track=63,
        heads=16,
        drive_number=0x80,
        boot_signature=0x29,
        volume_id=VOLUME_ID,
        volume_label=VOLUME_LABEL,
        file_system=b"FAT16   ",
    )
    no_system = b"\xcd\x18\xeb\xfe"  # INT 18h, then for ever: there is nothing to boot here
    return (fields + no_system).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _entry(name: bytes, attributes: int, first_cluster: int, size: int) -> bytes:
    return layouts.pack(
        "fat16_dir_entry_t",
        name=name[:8],
        extension=name[8:],
        attributes=attributes,
        date=FIRST_DAY,
        first_cluster=first_cluster,
        size=size,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("fat_image", __doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("files", nargs="+", metavar="FILE[=NAME.EXT]")
    options = parser.parse_args(arguments)
    return tool.run(
        "disk", options, lambda given: write_image([parse_file(text) for text in given.files], given.output)
    )


if __name__ == "__main__":
    sys.exit(main())
