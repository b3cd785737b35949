"""Does the image's header tell of all of the kernel? What it leaves out is not loaded, though its CRC may be right."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import LOADED, MEMORY, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.boot.boot import stage_of

_JMP_SHORT = 0xEB
_SECTOR = 512


def _look(subject: Subject) -> Iterator[Finding]:
    base, memory = layouts.const("BF_IMAGE_BASE"), subject.kernel.memory
    if stage_of(memory) < layouts.const("BF_STAGE_LOADED"):
        return
    try:
        header = one(memory, "bf_image_header", base, "image header")
        code = memory.read(base + 4, 1, "image entry")[0]
    except BareflowError:
        return
    if header.magic != layouts.const("BF_FLUD_MAGIC") or code != _JMP_SHORT or not header.image_bytes:
        return
    loaded = -(-header.image_bytes // _SECTOR)
    root = subject.kernel.root
    if root is not None and root.image_bytes == header.image_bytes:
        return
    if root is not None:
        evidence = (
            f"the header says {header.image_bytes:,} bytes, the kernel's own root descriptor {root.image_bytes:,}"
        )
    elif not base <= header.root < base + header.image_bytes:
        evidence = (
            f"the header says {header.image_bytes:,} bytes, and that the root descriptor is at 0x{header.root:08x}"
        )
    else:
        return
    yield Finding(
        what=f"the end of the kernel is missing: the loader was told to read {loaded:,} sectors",
        where=f"0x{base + header.image_bytes:08x}",
        evidence=evidence,
        consequence="what lies behind is not in memory: data, tables, modules",
        next_step="make the disk image again: `make firmware` fills the header in when the kernel is whole",
    )


CHECK = Check(
    "whole_image", "the size in the image's header against the kernel that was linked", (MEMORY, LOADED), _look
)
