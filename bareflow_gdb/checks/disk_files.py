"""Is the module disk's FAT16 volume sound: chains that end, files that do not share clusters?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import DISK, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.machine.fat16 import read_volume
from bareflow_gdb.qemu.disk import opened


def _look(subject: Subject) -> Iterator[Finding]:
    with opened(subject.disk) as image:
        volume = read_volume(image, str(subject.disk))
    for file in volume.files:
        if file.problem:
            yield _finding(f"the file {file.name} of the module disk is damaged: {file.problem}", file.name)
    for text in volume.problems:
        if not any(file.name in text for file in volume.files):
            yield _finding(f"the module disk is damaged: {text}", "")


def _finding(what: str, where: str) -> Finding:
    return Finding(
        severity=WARNING,
        what=what,
        where=where,
        evidence="read from the disk's image, as the guest's driver would",
        consequence="what it holds is refused, or read wrong",
        next_step="make the disk image again; `fat` shows its files and what is wrong with each",
    )


CHECK = Check("disk_files", "the FAT16 volume on the module disk", (DISK,), _look)
