"""Which bitcode does the image of a stock kernel carry? Found by its magic: no table lists it.

Header generations: 120, 124 and 128 bytes, told apart by where the payload's magic is.
"""

from __future__ import annotations

import dataclasses

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import LARGEST, Bitcode, decode_wrapper, wrapper_bytes
from bareflow_gdb.guest.stock.signatures import is_name
from bareflow_gdb.guest.stock.window import Window

_MOST = 64


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


def _wrapped(window: Window, address: int) -> Bitcode | None:
    data = window.bytes(address, wrapper_bytes())
    if data is None:
        return None
    found = decode_wrapper(data, "", Address(address))
    right = found.header_size and 0 < found.payload_size <= LARGEST and found.level <= 3
    named = is_name(f"{found.module}\0".encode())
    return dataclasses.replace(found, function=found.module) if right and named else None
