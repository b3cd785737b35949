"""Where is a boot stage, whether it is in memory yet or still on the machine's disk?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot_code import STAGES, Read, StageCode, stage_code

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

MAIN = "main"
NAMES = (*STAGES, MAIN)
MAIN_SYMBOL = "kernel_main"

# The image's header, at the start of the code, is completed after linking.
COMPARED = slice(64, 4096)


def find_stage(session: Session, name: str) -> StageCode:
    """A stage by its name; raises BadData with what to do when it cannot be known yet."""
    if name == MAIN:
        return _main(session)
    try:
        return stage_code(name, _memory(session), "memory")
    except BareflowError:
        if session.machine is None:
            raise
        # The machine's own disk says what will be loaded.
        return stage_code(name, _disk(session.machine.image), session.machine.image.name)


def _memory(session: Session) -> Read:
    return lambda address, size: session.memory.read(address, size, "boot code")


def _disk(image: Path) -> Read:
    """A disk image, by the addresses that its parts are loaded to: sector 0, sectors 1-8, sector 9 on."""
    places = (
        (layouts.const("BF_IMAGE_BASE"), layouts.const("BF_IMAGE_LBA")),
        (layouts.const("BF_STAGE2_ADDRESS"), 1),
        (layouts.const("BF_STAGE1_ADDRESS"), 0),
    )

    def read(address: int, size: int) -> bytes:
        base, sector = next(place for place in places if place[0] <= address)
        with image.open("rb") as disk:
            disk.seek(sector * 512 + address - base)
            return disk.read(size).ljust(size, b"\0")

    return read


def _main(session: Session) -> StageCode:
    address = symbol(MAIN_SYMBOL)
    if address is not None:
        return StageCode(MAIN, Address(address), f"the symbol {MAIN_SYMBOL}")
    if session.machine is not None:
        from bareflow_gdb.guest.names.elf import beside, load_elf

        image = session.machine.image
        for path in beside(image):
            elf = load_elf(path)
            if MAIN_SYMBOL in elf.symbols.by_name and elf.text[COMPARED] in image.read_bytes():
                return StageCode(MAIN, Address(elf.symbols.by_name[MAIN_SYMBOL]), f"{path.name}, beside the image")
    raise BadData(f"no symbol {MAIN_SYMBOL}: load the kernel's ELF with `file kernel.elf`, or break at `kernel`")
