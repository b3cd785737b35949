"""Has the whole kernel come into memory, and is its code still as it was built? By its ELF or its boot disk."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import LOADED, STOCK, Subject
from bareflow_gdb.guest.base.finding import Finding


def _look(subject: Subject) -> Iterator[Finding]:
    boot = subject.kernel.loaded(subject.machine.image if subject.machine is not None else None)
    for problem in boot.problems:
        yield Finding(
            what=problem,
            evidence=f"memory was compared with {boot.compared}",
            consequence="what lies behind is zero: strings are empty, tables and modules are gone",
            next_step="`boot` shows each part; let the loader read as many sectors as the image has",
        )
    for part in boot.parts:
        if part.different and not part.written and not part.missing_from:
            yield Finding(
                what=f"{part.name} is not in memory as {boot.compared} has it",
                where=f"0x{part.address:08x}",
                evidence=f"{part.different:,} of {part.size:,} bytes differ, and nothing should write there",
                consequence="code or constants are overwritten",
                next_step="`boot` shows each part; `bf watch` or a watchpoint there finds who writes",
            )


CHECK = Check("loaded", "memory against the kernel's ELF or the boot disk, by section", (STOCK, LOADED), _look)
