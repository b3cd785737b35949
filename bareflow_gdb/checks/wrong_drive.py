"""Does the kernel look for its FAT16 volume on the drive that has it?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import MACHINE, OUTPUT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import open_regular
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import NOWHERE
from bareflow_gdb.guest.machine.disk import read_disk
from bareflow_gdb.guest.stock.window import Window
from bareflow_gdb.qemu.image import SECTOR

_REFUSED = re.compile(r"^.*\[FAT16\] (?:Not a FAT16 volume|Invalid boot sector|No disk).*$", re.MULTILINE)
_TOO_FEW = 16
"""Different bytes of a sector: one with fewer may be anywhere."""


def _look(subject: Subject) -> Iterator[Finding]:
    machine = subject.machine
    assert machine is not None
    said = _REFUSED.search(subject.log) or _REFUSED.search(subject.shown or "")
    copied = None if said is not None or subject.stock is None else _boot_sector(subject, machine.image)
    if said is None and copied is None:
        return
    volume = read_disk(subject.kernel.memory, NOWHERE).volume
    if volume is None:
        # There is none that it could have found.
        return
    how = (
        f"it printed {said[0].strip()!r}" if said is not None else f"the boot disk's first sector is at 0x{copied:08x}"
    )
    yield Finding(
        what="the FAT16 driver reads another drive than the one with the volume: the master, not the slave",
        where="the drive bit of port 0x1F6",
        evidence=f"{how}; the slave of the first channel has a FAT16 volume of {len(volume.files)} files",
        consequence="no module, tier or bitcode is read from the disk",
        next_step="the slave is selected by 0x10 in the drive register (0xF0 with LBA); `fat` shows what is on it",
    )


def _boot_sector(subject: Subject, image: Path) -> int | None:
    """Where a kernel without a mounted volume keeps a copy of it: the BIOS put none there; None = nowhere."""
    try:
        with open_regular(image) as file:
            sector = file.read(SECTOR)
    except (OSError, BareflowError):
        return None
    window = Window(subject.kernel.memory)
    at = window.data.find(sector)
    return None if at < 0 or len(set(sector)) < _TOO_FEW else window.start + at


CHECK = Check(
    "wrong_drive", "the volume that the kernel refused against the disk that it has", (OUTPUT, MACHINE), _look
)
