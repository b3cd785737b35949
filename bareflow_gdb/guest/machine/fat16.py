"""Which files are on a FAT16 volume, and what is in them? From the bytes of the image, read-only, root directory only.

Microsoft FAT specification 1.03. Nothing on the disk is believed: chains are followed with cycle detection, a
damaged file is named as such, and the others stay readable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.foreign import ascii_of, lines_of
from bareflow_gdb.guest.base.reading import filled

Image = Any
"""bytes, or an mmap of the file: anything that slices to bytes and has a length."""

SECTOR = 512
_ENTRY_BYTES = 32
_END, _DELETED, _IS_E5 = 0x00, 0xE5, 0x05
_READ_ONLY, _HIDDEN, _SYSTEM, _VOLUME, _DIRECTORY = 1, 2, 4, 8, 16
_FIRST, _BAD, _CHAIN_END = 2, 0xFFF7, 0xFFF8
_FEWEST, _MOST = 4085, 65525
"""Clusters of a FAT16 volume; fewer are FAT12, more FAT32."""


@dataclass(frozen=True)
class FatFile:
    """An entry of the root directory."""

    name: str
    size: int
    """Bytes, by the directory."""
    first_cluster: int
    clusters: int
    """Length of its chain."""
    date: str
    """"YYYY-MM-DD hh:mm:ss" of the last change, "" = none."""
    directory: bool
    problem: str


@dataclass(frozen=True)
class FatVolume:
    """A FAT16 volume with the files of its root directory."""

    image: str
    """Where the bytes came from."""
    label: str
    volume_id: str
    sectors: int
    cluster_bytes: int
    clusters: int
    clusters_free: int
    fat_start: int
    """Sector, like the next two."""
    root_start: int
    data_start: int
    files: tuple[FatFile, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class FatContent:
    """A file with its bytes."""

    name: str
    size: int
    sha256: str
    text: str
    """Empty when it is not text."""
    data: str
    """Hexadecimal."""


@dataclass(frozen=True)
class _Geometry:
    cluster_sectors: int
    fat_start: int
    fat_sectors: int
    root_start: int
    root_entries: int
    data_start: int
    total: int

    @property
    def clusters(self) -> int:
        return (self.total - self.data_start) // self.cluster_sectors


def read_volume(image: Image, where: str) -> FatVolume:
    """The volume; raises BadData when the image holds no FAT16 volume."""
    geometry, raw = _geometry(image, where)
    problems: list[str] = []
    if len(image) < geometry.total * SECTOR:
        problems.append(f"the volume claims {geometry.total} sectors, the image has {len(image) // SECTOR}")
    fat = _fat(image, geometry, 0)
    copies = [_fat(image, geometry, number) for number in range(1, raw.fat_count)]
    if any(copy != fat for copy in copies):
        problems.append("the copies of the FAT differ: the last write was interrupted, or one is damaged")
    label = _text(raw.volume_label)
    files: list[FatFile] = []
    owners: dict[int, str] = {}
    for entry in _entries(image, geometry):
        if entry.attributes & _VOLUME:
            label = _text(entry.name + entry.extension, gap=False) or label
            continue
        files.append(_file(entry, fat, geometry, owners))
    problems += [f"{file.name}: {file.problem}" for file in files if file.problem]
    used = sum(fat[number] != 0 for number in range(_FIRST, min(len(fat), geometry.clusters + _FIRST)))
    return filled(
        FatVolume,
        geometry,
        image=where,
        label=label,
        volume_id=f"{raw.volume_id >> 16:04X}-{raw.volume_id & 0xFFFF:04X}",
        sectors=geometry.total,
        cluster_bytes=geometry.cluster_sectors * SECTOR,
        clusters=geometry.clusters,
        clusters_free=max(0, geometry.clusters - used),
        files=tuple(files),
        problems=tuple(problems),
    )


def read_file(image: Image, where: str, name: str) -> bytes:
    """A file's bytes, by its name in upper or lower case.

    Raises UsageError when there is no such file, BadData when its chain is damaged.
    """
    geometry, _ = _geometry(image, where)
    fat = _fat(image, geometry, 0)
    for entry in _entries(image, geometry):
        if entry.attributes & _VOLUME:
            continue
        found = _file(entry, fat, geometry, {})
        if found.name != name.upper():
            continue
        if found.directory:
            raise UsageError(f"{found.name} is a directory; only files of the root directory can be shown")
        if found.problem:
            raise BadData(f"{found.name} on {where} cannot be read: {found.problem}")
        parts, (clusters, _) = [], _chain(fat, geometry, entry.first_cluster, entry.size)
        for number in clusters:
            at = (geometry.data_start + (number - _FIRST) * geometry.cluster_sectors) * SECTOR
            parts.append(bytes(image[at : at + geometry.cluster_sectors * SECTOR]))
        data = b"".join(parts)[: entry.size]
        if len(data) != entry.size:
            raise BadData(f"{found.name} needs {entry.size:,} bytes, {where} is cut off after {len(data):,} of them")
        return data
    raise UsageError(f"there is no file {name.upper()} on {where}; `fat list` shows what there is")


def content(name: str, data: bytes) -> FatContent:
    """A file as a record."""
    text = lines_of(data)
    plain = data.replace(b"\r\n", b"\n").decode("latin-1") == text
    return FatContent(
        name=name.upper(),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        text=text if plain else "",
        data=data.hex(),
    )


def _geometry(image: Image, where: str) -> tuple[_Geometry, Any]:
    if len(image) < SECTOR or bytes(image[510:512]) != b"\x55\xaa":
        raise BadData(f"{where} has no boot sector signature (55 AA at 510): it is not a disk image")
    raw = layouts.unpack("fat16_boot_sector", bytes(image[:SECTOR]))
    if raw.bytes_per_sector != SECTOR:
        raise BadData(f"{where} is not a FAT16 volume: {raw.bytes_per_sector} bytes per sector instead of 512")
    per_cluster = raw.sectors_per_cluster
    if per_cluster == 0 or per_cluster & per_cluster - 1:
        raise BadData(f"{where} is not a FAT16 volume: {per_cluster} sectors per cluster is not a power of two")
    if not (raw.reserved_sectors and 0 < raw.fat_count <= 4 and raw.sectors_per_fat and raw.root_entries):
        raise BadData(f"{where} is not a FAT16 volume: it has no FAT or no root directory")
    root_start = raw.reserved_sectors + raw.fat_count * raw.sectors_per_fat
    geometry = _Geometry(
        cluster_sectors=per_cluster,
        fat_start=raw.reserved_sectors,
        fat_sectors=raw.sectors_per_fat,
        root_start=root_start,
        root_entries=raw.root_entries,
        data_start=root_start + -(-raw.root_entries * _ENTRY_BYTES // SECTOR),
        total=raw.sectors16 or raw.sectors32,
    )
    if geometry.total <= geometry.data_start:
        raise BadData(f"{where} is not a FAT16 volume: {geometry.total} sectors are fewer than its own tables need")
    if not _FEWEST <= geometry.clusters < _MOST:
        raise BadData(f"{where} has {geometry.clusters} clusters: FAT16 has {_FEWEST} to {_MOST - 1}")
    if raw.sectors_per_fat * SECTOR < (geometry.clusters + _FIRST) * 2:
        raise BadData(f"{where} is not a FAT16 volume: its FAT is too small for {geometry.clusters} clusters")
    return geometry, raw


def _fat(image: Image, geometry: _Geometry, number: int) -> memoryview:
    start = (geometry.fat_start + number * geometry.fat_sectors) * SECTOR
    size = (geometry.clusters + _FIRST) * 2
    data = bytes(image[start : start + size])
    return memoryview(data.ljust(size, b"\0")).cast("H")


def _entries(image: Image, geometry: _Geometry) -> Iterator[Any]:
    start = geometry.root_start * SECTOR
    data = bytes(image[start : start + geometry.root_entries * _ENTRY_BYTES])
    for at in range(0, len(data) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        if data[at] == _END:
            return
        if data[at] != _DELETED:
            entry = layouts.unpack("fat16_dir_entry", data[at : at + _ENTRY_BYTES])
            # A part of a long name has all four low attribute bits.
            if entry.attributes & 0xF != _READ_ONLY | _HIDDEN | _SYSTEM | _VOLUME:
                yield entry


def _chain(fat: memoryview, geometry: _Geometry, first: int, size: int) -> tuple[list[int], str]:
    """The clusters of a file, until the end mark or a fault, and what is wrong with them."""
    needed = -(-size // (geometry.cluster_sectors * SECTOR))
    if size == 0 and first == 0:
        return [], ""
    found: dict[int, None] = {}
    at = first
    while at < _CHAIN_END:
        if at == _BAD:
            return [*found], f"its chain runs into a bad cluster after {len(found)} clusters"
        if not _FIRST <= at < geometry.clusters + _FIRST:
            return [*found], f"its chain leads to cluster {at}, which does not exist"
        if at in found:
            return [*found], f"its chain of clusters runs in a circle at cluster {at}"
        found[at] = None
        at = int(fat[at])
    if len(found) < needed:
        return [*found], f"it claims {size} bytes, its chain has {len(found)} of {needed} clusters"
    return [*found], ""


def _file(entry: Any, fat: memoryview, geometry: _Geometry, owners: dict[int, str]) -> FatFile:
    name = _text(entry.name) + ("." + _text(entry.extension) if entry.extension.strip() else "")
    directory = bool(entry.attributes & _DIRECTORY)
    clusters, problem = _chain(fat, geometry, entry.first_cluster, entry.size)
    shared = next((number for number in clusters if number in owners), None)
    if shared is not None and not problem:
        problem = f"cluster {shared} belongs to {owners[shared]} too"
    owners.update(dict.fromkeys(clusters, name))
    date = _date(entry.date, entry.time)
    return FatFile(name, entry.size, entry.first_cluster, len(clusters), date, directory, problem)


def _text(raw: bytes, gap: bool = True) -> str:
    """Space-padded text; in the first byte 05 stands for E5."""
    if raw[:1] == bytes([_IS_E5]):
        raw = b"\xe5" + raw[1:]
    text = ascii_of(raw).rstrip()
    return text if gap else " ".join(text.split())


def _date(date: int, time: int) -> str:
    if not date:
        return ""
    day = f"{1980 + (date >> 9)}-{date >> 5 & 15:02d}-{date & 31:02d}"
    return f"{day} {time >> 11:02d}:{time >> 5 & 63:02d}:{(time & 31) * 2:02d}"
