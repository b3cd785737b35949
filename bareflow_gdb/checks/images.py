"""Are the module images in memory still signed right: those of loaded modules, and those in the cache?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import if_it_has
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.modules.judge import digest_is_right
from bareflow_gdb.guest.modules.modules import read_image


def _look(subject: Subject) -> Iterator[Finding]:
    table = if_it_has(lambda: subject.modules)
    for module in table.modules if table is not None else ():
        if module.digest == "wrong":
            yield _wrong(f"the image of module {module.name}", module.image)
    try:
        slots = subject.cache.slots
    except BareflowError:
        return
    for slot in slots:
        if not digest_is_right(read_image(subject.kernel.memory, slot.image, slot.image_size)):
            yield _wrong(f"the cached image of {slot.name} O{slot.level}", slot.image)


def _wrong(what: str, address: int) -> Finding:
    return Finding(
        what=f"{what} is damaged",
        where=f"0x{address:08x}",
        evidence="its SHA-256 does not match its bytes",
        consequence="code made from it is not what was built",
        next_step="`modules --check` and `cache` show the images; replace the disk image",
    )


CHECK = Check("images", "the SHA-256 of module images in memory", (ROOT,), _look)
