"""How must the code and the read-only data of a module image look where they were placed? Its relocations applied."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.memory.protocol import Memory

Bases = Mapping[str, int]
"""The addresses of "code", "data" and "rodata"; 0 = there is no such part."""

_MOST_RELOCATIONS = 4096
_WORD = 4
_BASES = ("code", "data", "rodata")
"""In the order of `enum bf_reloc_base`."""


@dataclass(frozen=True)
class Image:
    """An image of version 2, as far as it is needed to place it."""

    code: bytes
    rodata: bytes
    rodata_offset: int
    tier: int | None
    """The level that it says it is; None = it does not say."""
    relocations: tuple[tuple[int, str], ...]
    """Offset into the body, and to which base it is relative."""


@dataclass(frozen=True)
class Placed:
    """A part where it was placed."""

    data: bytes
    words: Mapping[int, str]
    """The offsets of relocated words, and what each is relative to."""


def read_parts(image: bytes) -> Image | None:
    """None when it is of another version, or its parts do not fit."""
    head, foot = layouts.size("module_header"), layouts.size("bf_module_tail")
    if len(image) < head:
        return None
    header = layouts.unpack("module_header", image[:head])
    end = head + header.code_size
    if header.version != 2 or header.code_size < foot or len(image) < end + 8:
        return None
    tail = layouts.unpack("bf_module_tail", image[end - foot : end])
    (count,) = struct.unpack_from("<I", image, end + 4)
    body = image[head:end]
    parts = (tail.code_size, tail.rodata_offset + tail.rodata_size)
    if tail.magic != layouts.const("BF_MODULE_TAIL_MAGIC") or max(parts) > len(body):
        return None
    if count > _MOST_RELOCATIONS or end + 8 + _WORD * count > len(image):
        return None
    mask, shift = layouts.const("BF_RELOC_OFFSET_MASK"), layouts.const("BF_RELOC_BASE_SHIFT")
    words = struct.unpack_from(f"<{count}I", image, end + 8)
    return Image(
        code=body[: tail.code_size],
        rodata=body[tail.rodata_offset : tail.rodata_offset + tail.rodata_size],
        rodata_offset=tail.rodata_offset,
        tier=tail.tier - 1 if tail.tier else None,
        relocations=tuple((one & mask, _BASES[one >> shift]) for one in words if one >> shift < len(_BASES)),
    )


def read_bases(memory: Memory, root: Root, count: int) -> list[Bases]:
    """Where each module's parts were placed; none where the kernel does not tell. Raises ReadError."""
    if not root.module_images:
        return []
    raws = many(memory, "bf_module_image", root.module_images, count, "module images")
    return [{name: getattr(raw, name) for name in _BASES} for raw in raws]


def placed(image: Image, bases: Bases) -> tuple[Placed, Placed]:
    """Code and read-only data."""
    return _part(image, image.code, 0, bases), _part(image, image.rodata, image.rodata_offset, bases)


def _part(image: Image, part: bytes, start: int, bases: Bases) -> Placed:
    data = bytearray(part)
    words = {}
    for offset, base in image.relocations:
        at = offset - start
        if 0 <= at <= len(data) - _WORD:
            value = int.from_bytes(data[at : at + _WORD], "little") + bases[base]
            data[at : at + _WORD] = (value & 0xFFFFFFFF).to_bytes(_WORD, "little")
            words[at] = base
    return Placed(bytes(data), words)
