"""Is a module's header right, and everything that it says about its image?

Read budget: 3 packets to find the module, then 1 per 2 KB of the image; images over 12 KB are read whole only
with `check`, and their SHA-256 stays unchecked otherwise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.base.root import is_ram
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.modules.judge import DIGEST_BYTES, digest_is_right, header_problems, make_header
from bareflow_gdb.guest.modules.modules import LARGEST_IMAGE, Module, Modules
from bareflow_gdb.memory.protocol import Memory

CHEAP_BYTES = 12 << 10
_MOST_RELOCATIONS = 4096
_MOST_SYMBOLS = 256


@dataclass(frozen=True)
class Part:
    """A part of the image that the tail of version 2 names; the offset is into the image."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class HeaderReport:
    """A module image: header, tail, relocations, SHA-256."""

    module: str
    """Of the module manager; "" = the address belongs to none."""
    level: int | None
    address: Address
    image_size: int
    """Bytes from the header to the SHA-256; 48 and the code in version 1."""
    magic: Word
    magic_text: str
    name: str
    entry_point: Word
    code_size: int
    version: int
    raw: str
    """The 48 bytes, hexadecimal."""
    parts: tuple[Part, ...]
    symbols: tuple[str, ...]
    """Of the data that all tiers share."""
    relocations: int
    bss_size: int
    digest: str
    """"right", "wrong", "not checked", "none"."""
    problems: tuple[str, ...]


def read_header(memory: Memory, modules: Modules | None, wanted: str | int, check: bool = False) -> HeaderReport:
    """The image of a module, by name, or by an address in its image or its code.

    Raises UsageError when there is no such module, BadData when nothing is kept of it, ReadError.
    """
    module = _find(modules, wanted)
    if module is None and isinstance(wanted, str):
        known = ", ".join(item.name for item in modules.modules) if modules else ""
        raise UsageError(f"no module {wanted!r} is loaded; there are: {known or 'none yet'}")
    if module is not None and not module.image:
        raise BadData(
            f"this kernel keeps no image of {module.name}: its header cannot be found from the module's name; "
            "give the header's address"
        )
    return _report(memory, int(module.image if module is not None else wanted), module, check)


def read_header_apart(memory: Memory, module: Module, address: int) -> HeaderReport:
    """The record of a module whose code does not follow it; nothing but its 48 bytes is an image. Raises ReadError."""
    return _report(memory, address, module, check=False, apart=True)


def _find(modules: Modules | None, wanted: str | int) -> Module | None:
    for module in modules.modules if modules else ():
        if wanted == module.name:
            return module
        if isinstance(wanted, int) and (
            module.image <= wanted < module.image + module.image_size
            or module.code <= wanted < module.code + max(module.code_size, 1)
        ):
            return module
    return None


def _report(memory: Memory, address: int, module: Module | None, check: bool, apart: bool = False) -> HeaderReport:
    size = layouts.size("module_header")
    name, image_size = (module.name, module.image_size) if module is not None else ("", 0)
    if not is_ram(address, size):
        raise UsageError(f"0x{address:08x} is not RAM: no header can be there; `modules` shows where they are")
    data = memory.read(address, size, "module header")
    header = make_header(address, layouts.unpack("module_header", data))
    signed = header.is_one and header.version > 1 and not apart
    tailed = signed and header.version == 2
    end = size + header.code_size
    problems: list[str] = []
    whole = b""
    if tailed and 0 < header.code_size <= LARGEST_IMAGE:
        whole = _whole(memory, address, image_size, end, check, problems)
    trailer = _Trailer.read(whole, end, problems) if whole else _Trailer(0, 0, 0)
    real = size if apart else image_size or trailer.end or size + min(header.code_size, LARGEST_IMAGE)
    if tailed and not header.code_size:
        problems.append("it claims 0 bytes of code, which cannot be right")
    if image_size and trailer.end and trailer.end != image_size:
        problems.append(f"the header leads to {trailer.end} bytes, the kernel keeps {image_size}")
    parts, symbols = _tail(whole, size, header.code_size, problems) if whole else ((), ())
    return filled(
        HeaderReport,
        header,
        module=name,
        level=module.level if module is not None else None,
        image_size=real,
        magic_text=clean(data[:4]),
        raw=data.hex(),
        parts=parts,
        symbols=symbols,
        relocations=trailer.relocations,
        bss_size=trailer.bss_size,
        digest=_digest(whole[: trailer.end], problems)
        if header.is_one and header.version > 1 and not apart
        else "none",
        problems=(*header_problems(header, name, 0 if apart else real, apart), *problems),
    )


def _whole(memory: Memory, address: int, image_size: int, before: int, check: bool, problems: list[str]) -> bytes:
    """The image up to its SHA-256, b"" when it is too long to be read unasked, or cannot be."""
    if not image_size:
        counts = memory.read(address + before, 8, "relocation count")
        bss, count = struct.unpack("<II", counts)
        if count > _MOST_RELOCATIONS or bss > LARGEST_IMAGE:
            problems.append(f"it claims {count} relocations and {bss} bytes of .bss, which cannot be right")
            return b""
        image_size = before + 8 + 4 * count + DIGEST_BYTES
    if not before + 8 + DIGEST_BYTES <= image_size <= LARGEST_IMAGE:
        if before <= image_size:
            problems.append(f"what follows its code does not fit an image of {image_size} bytes")
        return b""
    if image_size > CHEAP_BYTES and not check and memory.packets:
        return b""
    return memory.read(address, image_size, "module image")


@dataclass(frozen=True)
class _Trailer:
    """What follows the code in version 2."""

    bss_size: int
    relocations: int
    end: int
    """Bytes of the image with the SHA-256, 0 = not known."""

    @classmethod
    def read(cls, whole: bytes, at: int, problems: list[str]) -> _Trailer:
        bss, count = struct.unpack_from("<II", whole, at)
        end = at + 8 + 4 * count + DIGEST_BYTES
        if count > _MOST_RELOCATIONS or end > len(whole):
            problems.append(f"{count} relocations do not fit an image of {len(whole)} bytes")
            return cls(bss, count, 0)
        mask, shift = layouts.const("BF_RELOC_OFFSET_MASK"), layouts.const("BF_RELOC_BASE_SHIFT")
        words = struct.unpack_from(f"<{count}I", whole, at + 8)
        size = at - layouts.size("module_header")
        wrong = [word for word in words if (word & mask) + 4 > size or word >> shift > 2]
        if wrong:
            problems.append(f"{len(wrong)} of {count} relocations lead out of the code, 0x{wrong[0]:08x} first")
        return cls(bss, count, end)


def _tail(whole: bytes, header: int, code_size: int, problems: list[str]) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    size = layouts.size("bf_module_tail")
    if code_size < size:
        problems.append(f"{code_size} bytes have no room for the tail, which says what is code and data")
        return (), ()
    raw = layouts.unpack("bf_module_tail", whole[header + code_size - size : header + code_size])
    if raw.magic != layouts.const("BF_MODULE_TAIL_MAGIC"):
        problems.append(f"the tail has magic 0x{raw.magic:08x}, not BMTL")
        return (), ()
    parts = (
        Part("code", header, raw.code_size),
        Part("read-only data", header + raw.rodata_offset, raw.rodata_size),
        Part("data", header + raw.data_offset, raw.data_size),
    )
    for part in parts:
        if part.offset + part.size > header + code_size:
            problems.append(f"its {part.name} ({part.size} bytes at {part.offset}) lies outside the image")
    step = layouts.size("bf_symbol")
    at, count = header + raw.symbols_offset, raw.symbol_count
    if count > _MOST_SYMBOLS or at + count * step > header + code_size:
        problems.append(f"its {count} symbols lie outside the image")
        return parts, ()
    names = (clean(whole[at + index * step : at + index * step + 32]) for index in range(count))
    return parts, tuple(names)


def _digest(image: bytes, problems: list[str]) -> str:
    if not image:
        return "not checked"
    if digest_is_right(image):
        return "right"
    problems.append("the SHA-256 is wrong: something wrote over the image, or it is truncated")
    return "wrong"
