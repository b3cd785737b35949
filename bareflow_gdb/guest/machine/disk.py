"""What does the guest know of its FAT16 disk, and is that the disk that QEMU gives it?

Read budget: the kernel's record 1 packet; QEMU's `info block` 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BadData, BareflowError, Unreachable
from bareflow_gdb.foreign import ascii_of
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.machine.fat16 import FatContent, FatVolume, content, read_file, read_volume
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.disk import image_path, opened


@dataclass(frozen=True)
class Mounted:
    """`fat16_fs_t`: what the kernel keeps of the volume."""

    drive: int
    """0 = master, 1 = slave."""
    label: str
    total: int
    fat_start: int
    """Sector, like the next two."""
    root_start: int
    data_start: int


@dataclass(frozen=True)
class Disk:
    """The guest's second disk: the volume from its image, and the guest's own state of it."""

    volume: FatVolume | None
    mounted: Mounted | None
    """None: the guest has not mounted one, or this memory does not tell."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def read_image(path: Path) -> Disk:
    """A disk image alone. Raises Unreachable, BadData."""
    with opened(path) as image:
        volume = read_volume(image, str(path))
    return Disk(volume, None, volume.problems, ())


def read_disk(memory: Memory, state: Address) -> Disk:
    """The disk of a guest; `state` is where its `fat16_fs_t` is, 0 = not known.

    What cannot be told is None, and the reason is in `notes`, or in `problems` when the image is no FAT16 volume.
    """
    notes: list[str] = []
    problems: list[str] = []
    mounted = _mounted(memory, state, notes)
    volume = None
    try:
        path = image_path(memory)
        with opened(path) as image:
            volume = read_volume(image, str(path))
    except Unreachable as error:
        notes.append(f"its files cannot be listed: {error}")
    except BadData as error:
        problems.append(f"its files cannot be listed: {error}")
    problems += volume.problems if volume else ()
    if volume and mounted:
        problems += _differences(volume, mounted)
    return Disk(volume, mounted, tuple(problems), tuple(notes))


def read_content(path: Path, name: str) -> tuple[FatContent, bytes]:
    """A file of a disk image. Raises Unreachable, BadData, UsageError."""
    with opened(path) as image:
        data = read_file(image, str(path), name)
    return content(name, data), data


def _mounted(memory: Memory, state: Address, notes: list[str]) -> Mounted | None:
    if not state:
        notes.append("the kernel's own state is not known: it gives no pointer to a FAT16 record")
        return None
    try:
        raw = one(memory, "fat16_fs", state, "FAT16 state")
    except BareflowError as error:
        notes.append(str(error))
        return None
    if not raw.total or not raw.data_start:
        notes.append("the guest has mounted no volume: it has no second disk, or has not come so far")
        return None
    label = ascii_of(raw.boot_sector.volume_label).rstrip()
    return filled(Mounted, raw, label=label, root_start=raw.root_dir_start)


def _differences(volume: FatVolume, mounted: Mounted) -> list[str]:
    pairs = (
        ("sectors", mounted.total, volume.sectors),
        ("the FAT's sector", mounted.fat_start, volume.fat_start),
        ("the root directory's sector", mounted.root_start, volume.root_start),
        ("the data's sector", mounted.data_start, volume.data_start),
    )
    return [
        f"the guest has {what} {guest}, the image {image}: it mounted another disk, or its record was overwritten"
        for what, guest, image in pairs
        if guest != image
    ]
