"""Will the boot record of a machine's guest ever tell a stage? A stock kernel's loader keeps none."""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.find import has_our_header, is_our_header
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.image import SECTOR
from bareflow_gdb.qemu.machine import Machine


def refuse_foreign(machine: Machine, memory: Memory, cannot: str, instead: str) -> None:
    """Raises BadData, that it `cannot`, for a machine that runs a stock kernel, or has one on its boot disk."""
    if is_foreign(machine, memory):
        raise BadData(f"machine {machine.name} runs a stock kernel, {cannot}; {instead}")


def is_foreign(machine: Machine, memory: Memory) -> bool:
    """Does a machine run a stock kernel, or has it one on its boot disk?"""
    # Its own marks once more at the end: the guest runs, and may have loaded our kernel between the looks.
    foreign = kernel_base(memory) is not None or _boots_stock(machine)
    return not _is_ours(memory) and foreign and not _is_ours(memory)


def _is_ours(memory: Memory) -> bool:
    return bool(stage_of(memory)) or has_our_header(memory)


def _boots_stock(machine: Machine) -> bool:
    """Is the kernel on its boot disk none of this project's? False where none can be seen there."""
    size = layouts.size("bf_image_header")
    try:
        with machine.image.open("rb") as file:
            if layouts.const("BF_BOOT_MAGIC").to_bytes(4, "little") in file.read(SECTOR):
                # Whatever it loads, this boot sector writes a boot record.
                return False
            file.seek(layouts.const("BF_IMAGE_LBA") * SECTOR)
            data = file.read(size)
    except OSError:
        return False
    header = layouts.unpack("bf_image_header", data) if len(data) == size else None
    return header is not None and header.magic == layouts.const("BF_FLUD_MAGIC") and not is_our_header(header)
