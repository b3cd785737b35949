"""Has the kernel a second disk, from which tiers and bitcode come?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.refused import NO_BITCODE
from bareflow_gdb.checks.subject import NO_DISK, ROOT, SERIAL, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.lacks_disk:
        refused = len(NO_BITCODE.findall(subject.log))
        yield Finding(
            severity=WARNING,
            what="there is no second disk that the kernel can read",
            evidence=f"it printed {NO_DISK!r}" + (f", and had no bitcode for {refused:,} tiers" if refused else ""),
            consequence="functions whose tiers are on the disk stay where they are, and none can be recompiled",
            next_step="start it with its disk: `bareflow run` adds the one beside the image, `--disk FILE` another",
        )


CHECK = Check("no_disk", "whether the kernel found its module disk", (ROOT, SERIAL), _look)
