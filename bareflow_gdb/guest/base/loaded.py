"""Where is a kernel loaded, and is all of it there? Its signature tells, and the record of our loader."""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.memory.protocol import KERNEL_BASES, Memory

USUAL = KERNEL_BASES[0]


def kernel_base(memory: Memory) -> int | None:
    """The address of the signature; None when no kernel is in memory. One packet where it usually is."""
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    return next((base for base in KERNEL_BASES if _word(memory, base) == signature), None)


def being_loaded(memory: Memory) -> str:
    """How much of its kernel a loader of ours has read by now; "" = all of it, or it is none of ours."""
    try:
        raw = one(memory, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"), "boot record")
    except ReadError:
        return ""
    if raw.magic != layouts.const("BF_BOOT_MAGIC") or raw.fatal or raw.stage >= layouts.const("BF_STAGE_LOADED"):
        return ""
    if raw.sectors_needed:
        return f"{raw.sectors_read:,} of the kernel's {raw.sectors_needed:,} sectors are loaded"
    return f"the kernel is not loaded, the boot is at stage {word('bf_boot_stage', raw.stage)}"


def _word(memory: Memory, address: int) -> bytes:
    try:
        return memory.read(address, 4, "kernel signature")
    except ReadError:
        return b""
