"""Is the kernel loaded where it was linked? By what its code says of its own strings, without its ELF."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import LOADED, MEMORY, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.stock.slide import slide_of
from bareflow_gdb.guest.stock.window import Window


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.kernel.root is not None:
        # Its header led to the root descriptor: it is where it was linked.
        return
    memory = subject.kernel.memory
    slide = slide_of(Window(memory))
    if not slide.bytes:
        return
    base = kernel_base(memory) or USUAL
    yield Finding(
        what=f"the kernel is linked at 0x{base - slide.bytes:x}, but loaded at 0x{base:x}",
        where=f"0x{base:08x}",
        evidence=f"its code names {slide.named} of its strings 0x{abs(slide.bytes):x} bytes beside their place, "
        f"{slide.in_place} at their place",
        consequence="every string and data address is off: texts and names read as empty, tables as garbage",
        next_step="link it where it is loaded, or load it where it is linked",
    )


CHECK = Check("slide", "addresses in the kernel's code against where it is loaded", (MEMORY, LOADED), _look)
