"""Does the kernel look for its FAT16 volume on the drive that has it?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import MACHINE, OUTPUT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import NOWHERE
from bareflow_gdb.guest.machine.disk import read_disk

_REFUSED = re.compile(r"^.*\[FAT16\] (?:Not a FAT16 volume|Invalid boot sector|No disk).*$", re.MULTILINE)


def _look(subject: Subject) -> Iterator[Finding]:
    said = _REFUSED.search(subject.log) or _REFUSED.search(subject.shown or "")
    if said is None:
        return
    volume = read_disk(subject.kernel.memory, NOWHERE).volume
    if volume is None:
        # There is none that it could have found.
        return
    yield Finding(
        what="the FAT16 driver reads another drive than the one with the volume: the master, not the slave",
        where="the drive bit of port 0x1F6",
        evidence=f"it printed {said[0].strip()!r}; the slave of the first channel has a FAT16 volume of "
        f"{len(volume.files)} files",
        consequence="no module, tier or bitcode is read from the disk",
        next_step="the slave is selected by 0x10 in the drive register (0xF0 with LBA); `fat` shows what is on it",
    )


CHECK = Check(
    "wrong_drive", "the volume that the kernel refused against the disk that it has", (OUTPUT, MACHINE), _look
)
