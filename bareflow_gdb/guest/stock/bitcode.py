"""Which bitcode does the image of a stock kernel carry? Found by its magic: no table lists it.

Header generations: 120, 124 and 128 bytes, told apart by where the payload's magic is.
"""

from __future__ import annotations

import dataclasses
import re

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import HEADER_SIZES, LARGEST, Bitcode, decode_wrapper, wrapper_bytes
from bareflow_gdb.guest.stock.signatures import is_name
from bareflow_gdb.guest.stock.window import Window

_MOST = 64
_MOST_COMPARED = 1024
_NEAR = 96
"""So far from where the magic is compared a kernel steps over the header."""
_COMPARED = re.compile(rb"(?:\x81[\x38-\x3f]|\x81\x7d.|\x81[\x78-\x7f].|\x81[\xf8-\xff]|\x3d)$", re.DOTALL)
"""cmp of a word of memory or of a register, its immediate after it."""
_ROUNDED = 15


def find_bitcode(window: Window) -> tuple[Bitcode, ...]:
    """All wrapped bitcode of the window by address, at most 64; a module's name stands for the function's."""
    magic = layouts.const("BITCODE_MAGIC").to_bytes(4, "little")
    found: list[Bitcode] = []
    at = window.data.find(magic)
    while at >= 0 and len(found) < _MOST:
        one = _wrapped(window, window.start + at)
        if one is not None:
            found.append(one)
        at = window.data.find(magic, at + 1)
    return tuple(found)


def header_in_code(window: Window) -> int:
    """How large the header is to the kernel's own code, which steps over it behind its magic; 0 = it does not tell."""
    magic = layouts.const("BITCODE_MAGIC").to_bytes(4, "little")
    sizes: set[int] = set()
    at, left = window.data.find(magic), _MOST_COMPARED
    while at >= 0 and left > 0:
        left -= 1
        if _COMPARED.search(window.data, max(at - 3, 0), at):
            near = window.data[max(at - _NEAR, 0) : at + _NEAR]
            sizes |= {size for size in HEADER_SIZES if _steps(size).search(near)}
        at = window.data.find(magic, at + 1)
    return sizes.pop() if len(sizes) == 1 else 0


def _steps(size: int) -> re.Pattern[bytes]:
    """cmp of a register with the size; or an addition of it, rounded up to the next 16."""
    word, rounded = (re.escape(number.to_bytes(4, "little")) for number in (size, size + _ROUNDED))
    compared = rb"\x3d" + word + rb"|\x81[\xf8-\xff]" + word
    if size < 128:
        compared += rb"|\x83[\xf8-\xff]" + re.escape(bytes([size]))
    return re.compile(compared + rb"|[\x05]" + rounded + rb"|\x81[\xc0-\xc7]" + rounded, re.DOTALL)


def _wrapped(window: Window, address: int) -> Bitcode | None:
    data = window.bytes(address, wrapper_bytes())
    if data is None:
        return None
    found = decode_wrapper(data, "", Address(address))
    right = found.header_size and 0 < found.payload_size <= LARGEST and found.level <= 3
    named = is_name(f"{found.module}\0".encode())
    return dataclasses.replace(found, function=found.module) if right and named else None
