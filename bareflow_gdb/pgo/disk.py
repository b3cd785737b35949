"""How do optimised images come onto a FAT16 disk, and are they there? The other files stay; the disk is read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bareflow_gdb.build.fat_image import VOLUME_LABEL, DiskFile, disk_name, fat16_image
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import BY_UMASK, replacing
from bareflow_gdb.guest.machine.disk import read_image
from bareflow_gdb.guest.machine.fat16 import read_file
from bareflow_gdb.qemu.disk import opened


def sync(disk: Path, images: Mapping[str, bytes], more: Mapping[str, bytes] | None = None) -> tuple[str, ...]:
    """Writes NAME.MOD of each module, and files of `more` by their names; returns what was written.

    The disk is as before when it raises UsageError, BadData, CannotWrite.
    """
    wanted = {disk_name(f"{name}.O0.mod"): image for name, image in images.items()} | dict(more or {})
    files = _files(disk) | wanted if disk.exists() else wanted
    image = fat16_image([DiskFile(name, content) for name, content in files.items()])
    with replacing(disk, BY_UMASK) as partial:
        partial.write_bytes(image)
        for name, content in files.items():
            if _content(partial, name) != content:
                raise BadData(f"{name} was read back from {disk} otherwise than it was written; write it again")
    return tuple(sorted(wanted))


def _files(disk: Path) -> dict[str, bytes]:
    volume = read_image(disk).volume
    if volume is None or volume.problems:
        why = volume.problems[0] if volume else "it cannot be read"
        raise BadData(f"{disk} is damaged ({why}); make it anew with `bareflow build disk`")
    if volume.label != VOLUME_LABEL.decode().rstrip() or any(file.directory for file in volume.files):
        raise UsageError(f"{disk} is not a disk of this project's; make one with `bareflow build disk`, and give that")
    return {file.name: _content(disk, file.name) for file in volume.files}


def _content(disk: Path, name: str) -> bytes:
    with opened(disk) as image:
        return read_file(image, str(disk), name)
