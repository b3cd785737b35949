"""Is what a module's header says right, by itself and against the image that it begins?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.base.values import Address, Word

DIGEST_BYTES = 32


@dataclass(frozen=True)
class ModuleHeader:
    """`module_header_t`: the first 48 bytes of a module image."""

    address: Address
    magic: Word
    name: str
    entry_point: Word
    """As stored: an offset into the image, or absolute."""
    code_size: int
    version: int

    @property
    def is_one(self) -> bool:
        """Whether it has the magic; without it nothing of it means anything."""
        return int(self.magic) == layouts.const("MODULE_MAGIC")


def make_header(address: int, raw: Any) -> ModuleHeader:
    """The header at `address`."""
    return filled(ModuleHeader, raw, address=address, name=clean(raw.name))


def header_problems(header: ModuleHeader, module: str, image_size: int, apart: bool = False) -> list[str]:
    """What is wrong with the header of a module, "" = of none that is known, in an image of that many bytes.

    `apart`: it stands apart from its code, as some stock kernels have it.
    """
    if not header.is_one:
        magic = layouts.const("MODULE_MAGIC")
        return [f"its header has magic 0x{header.magic:08x}, not BDOM (0x{magic:08x})"]
    found: list[str] = []
    if module and header.name != module:
        found.append(f"its header names it {header.name!r}")
    if header.version not in (1, 2):
        found.append(f"its header has version {header.version}; known are 1 and 2")
    size, code, entry = layouts.size("module_header"), header.code_size, header.entry_point
    if image_size and size + code > image_size:
        found.append(f"its header claims {code:,} bytes of code in an image of {image_size:,}")
    inside = size <= entry < size + max(code, 1)
    if not apart and not inside and not header.address <= entry < header.address + image_size:
        found.append(f"its header's entry 0x{entry:08x} is outside its code")
    return found


def digest_is_right(image: bytes) -> bool:
    """Whether the SHA-256 at the end of an image of version 2 is that of what precedes it."""
    before, digest = image[:-DIGEST_BYTES], image[-DIGEST_BYTES:]
    return bool(before) and hashlib.sha256(before).digest() == digest
