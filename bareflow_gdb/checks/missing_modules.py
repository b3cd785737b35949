"""Has every module that the kernel's image carries a slot in the module table?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.stock.headers import headers_in
from bareflow_gdb.guest.stock.window import Window

_MOST_BYTES = 1 << 20
_MOST_NAMED = 8
_LARGEST_IMAGE = 1 << 18
"""As much as the loader reads."""


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.reads_cost or subject.implausible:
        return
    table = subject.kernel.modules()
    known = {module.name for module in table.modules}
    base = kernel_base(subject.kernel.memory) or USUAL
    carried: dict[str, int] = {}
    end = _image_end(subject)
    for address, header in _headers(subject, base, end):
        name = clean(header.name)
        # Other bytes may be equal to the magic: a header has a name, and as much code as can be.
        if base <= address < end and name.isidentifier() and 0 < header.code_size < _MOST_BYTES:
            carried.setdefault(name, address)
    missing = {name: address for name, address in carried.items() if name not in known}
    if not table.modules or not missing or not known & carried.keys():
        return
    yield Finding(
        severity=WARNING,
        what=f"{len(missing)} of {len(carried)} modules in the kernel's image have no slot in the module table",
        where=", ".join(f"{name} (0x{address:08x})" for name, address in list(missing.items())[:_MOST_NAMED]),
        evidence=f"the table has {table.count} modules; the image has the headers of {', '.join(list(carried)[:16])}",
        consequence="they cannot be called, and no profile tells of them",
        next_step="`modules` shows the table; a cache may only replace modules that have a slot, or must add one",
    )


def _headers(subject: Subject, base: int, end: int) -> Iterator[tuple[int, Any]]:
    """What may be a module's header, with its address: in the image, no more."""
    memory = subject.kernel.memory
    if subject.kernel.root is None:
        yield from headers_in(Window(memory))
        return
    magic, size = layouts.const("MODULE_MAGIC").to_bytes(4, "little"), layouts.size("module_header")
    image = memory.read(base, max(0, min(end - base, _LARGEST_IMAGE)), "kernel image")
    at = image.find(magic)
    while 0 <= at <= len(image) - size:
        yield base + at, layouts.unpack("module_header", image[at : at + size])
        at = image.find(magic, at + 1)


def _image_end(subject: Subject) -> int:
    """First address after the image; of a stock kernel its .bss, and so copies of modules, lie behind it."""
    from bareflow_gdb.guest.stock.entry import entry_of

    root = subject.kernel.root
    if root is not None:
        return int(root.image_base + root.image_bytes)
    cleared = entry_of(subject.kernel.memory).cleared
    return cleared[0] if cleared is not None else 0x90000


CHECK = Check("missing_modules", "the modules in the kernel's image against the module table", (KERNEL,), _look)
