"""What can be asked of a stock kernel that has not run, by its ELF, its binary or its boot disk alone?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.target import Target

if TYPE_CHECKING:
    from bareflow_gdb.memory.kernel_file import KernelFile

_MOST_BYTES = 1 << 20
_ROOT = "bareflow_root"
_ELF = b"\x7fELF"


def as_loaded(target: Target) -> Target:
    """The same target with memory as a loader would leave it; unchanged when it is no file of a stock kernel."""
    from bareflow_gdb.guest.base.loaded import kernel_base
    from bareflow_gdb.guest.stock.kernel import looks_stock

    if target.kind not in ("kernel", "disk") or target.path is None:
        return target
    memory = _memory(target.path)
    if memory is None or not looks_stock(memory):
        return target
    return replace(
        target, description=f"{target.description}, as if loaded at 0x{kernel_base(memory):x}", source=memory
    )


def _memory(path: Path) -> KernelFile | None:
    from bareflow_gdb.guest.names.elf import load_elf, loaded_sections
    from bareflow_gdb.memory.kernel_file import KernelFile

    try:
        with path.open("rb") as file:
            head = file.read(_MOST_BYTES)
    except OSError:
        return None
    if head.startswith(_ELF):
        elf = load_elf(path)
        if elf.build_id or _ROOT in elf.symbols.by_name:
            # One of ours gets its header when the boot disk is made.
            return None
        return KernelFile((address, data) for _, address, data, _ in loaded_sections(path))
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    start = 0 if head.startswith(signature) else layouts.const("BF_IMAGE_LBA") * 512
    if head[start : start + 4] != signature:
        return None
    return _where_linked(head[start:])


def _where_linked(image: bytes) -> KernelFile:
    """Its file does not say where it is loaded: it is taken to be there where its code names its strings."""
    from bareflow_gdb.guest.stock.slide import slide_of
    from bareflow_gdb.guest.stock.window import Window
    from bareflow_gdb.memory.kernel_file import KernelFile
    from bareflow_gdb.memory.protocol import KERNEL_BASES

    usual = KernelFile([(KERNEL_BASES[0], image)])
    base = KERNEL_BASES[0] - slide_of(Window(usual)).bytes
    return KernelFile([(base, image)]) if base in KERNEL_BASES[1:] else usual
