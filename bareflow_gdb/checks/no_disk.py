"""Has the kernel a second disk, from which tiers and bitcode come?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, SERIAL, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding

_LINE = "[DISK] No disk"


def _look(subject: Subject) -> Iterator[Finding]:
    if _LINE in subject.log and subject.kernel.root is not None and subject.kernel.root.variant != "unikernel":
        yield Finding(
            severity=WARNING,
            what="there is no second disk that the kernel can read",
            evidence=f"it printed {_LINE!r}",
            consequence="functions whose tiers are on the disk stay at O0, and there is no bitcode to recompile",
            next_step="`bareflow run` adds the disk beside the image; `--disk FILE` names another",
        )


CHECK = Check("no_disk", "whether the kernel found its module disk", (ROOT, SERIAL), _look)
