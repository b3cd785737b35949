"""Where is the root descriptor, and how was it found?

Three ways in turn: the image header at the load address, the symbol `bareflow_root`, a scan for the magic.
Each candidate is validated (version, sizes, checksum, pointers) before it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.root import Root, decode_root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, RAM_SIZE, Memory

ROOT_SYMBOL = "bareflow_root"
_CHUNK = 0x10000
_SHORT_JUMP = 0xEB


@dataclass(frozen=True)
class Found:
    """The root and the way that led to it, as words: "image header", "symbol", "scan"."""

    root: Root
    how: str


def find_root(memory: Memory, symbols: Callable[[], Mapping[str, int]] = dict, *, scan: bool = True) -> Found:
    """The first candidate that is valid; `scan` looks through RAM when nothing points to one.

    `symbols` is asked when the image header leads to none.

    Over a source whose reads cost packets the scan stays below 640 KiB (about 300 packets, once per attach).
    Raises BadData with the reason that says most when there is none.
    """
    complaints: list[BadData] = []
    seen: set[int] = set()
    for how, address in _candidates(memory, symbols, scan):
        if address in seen:
            continue
        seen.add(address)
        try:
            return Found(read_root(memory, address), how)
        except BadData as error:
            complaints.append(error)
        except ReadError as error:
            complaints.append(BadData(str(error)))
    if complaints:
        raise complaints[0]
    raise BadData(
        "there is no root descriptor in this memory: the kernel is not loaded yet, or it is one without the "
        "debug interface; `boot` shows how far the boot got"
    )


def read_root(memory: Memory, address: int) -> Root:
    """The root descriptor at `address`; raises BadData or ReadError. One packet."""
    return decode_root(address, memory.read(address, layouts.size("bf_root"), "root descriptor"))


def _candidates(memory: Memory, symbols: Callable[[], Mapping[str, int]], scan: bool) -> Iterator[tuple[str, int]]:
    from_header = _image_header(memory)
    if from_header is not None:
        yield "image header", from_header
    by_name = symbols().get(ROOT_SYMBOL)
    if by_name is not None:
        yield "symbol", by_name
    for address in _scan(memory) if scan else ():
        yield "scan", address


def has_our_header(memory: Memory) -> bool:
    """Is the image in memory one of this project, whose signature is followed by a jump over a header?"""
    header = _header(memory)
    return header is not None and is_our_header(header)


def is_our_header(header: Any) -> bool:
    """The same of a decoded `bf_image_header`, which in a stock kernel is its first instructions."""
    last = layouts.const("BF_IMAGE_BASE") + header.image_bytes - 1
    return header.jump[0] == _SHORT_JUMP and _in_image(header.root) and _in_image(last)


def _in_image(address: int) -> bool:
    return bool(layouts.const("BF_IMAGE_BASE") <= address < layouts.const("BF_IMAGE_LIMIT"))


def _header(memory: Memory) -> Any:
    """The image header, or a stock kernel's first instructions; None where no signature is."""
    try:
        data = memory.read(layouts.const("BF_IMAGE_BASE"), layouts.size("bf_image_header"), "image header")
    except ReadError:
        return None
    header = layouts.unpack("bf_image_header", data)
    return header if header.magic == layouts.const("BF_FLUD_MAGIC") else None


def _image_header(memory: Memory) -> Address | None:
    """The root by the image header; None where the word there cannot lead to one, as in a stock kernel's code."""
    header = _header(memory)
    return Address(header.root) if header is not None and _in_image(header.root) else None


def _scan(memory: Memory) -> Iterator[Address]:
    """Every 16-byte aligned place of the magic, the memory of boot loader and kernel first."""
    magic = struct.pack("<4I", *(layouts.const(f"BF_ROOT_MAGIC{index}") for index in range(4)))
    yield from _scan_range(memory, magic, 0, DEVICES_START)
    if memory.packets == 0:
        yield from _scan_range(memory, magic, DEVICES_END, RAM_SIZE)


def _chunks(memory: Memory, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Address and size of each part of [start, end) that this memory has; a dump may begin or end anywhere."""
    for low, high in memory.ranges:
        # The magic is 16-byte aligned, so it never straddles two chunks.
        first, last = max(start, -(-low // 16) * 16), min(end, high)
        for base in range(first, last, _CHUNK):
            yield base, min(_CHUNK, last - base)


def _scan_range(memory: Memory, magic: bytes, start: int, end: int) -> Iterator[Address]:
    for base, size in _chunks(memory, start, end):
        try:
            data = memory.read(base, size, "scan for the root descriptor")
        except ReadError:
            continue
        at = data.find(magic)
        while at >= 0:
            if at % 16 == 0:
                yield Address(base + at)
            at = data.find(magic, at + 1)
