"""Which bitcode does the image of a stock kernel carry? Found by its magic: no table lists it.

Header generations: 120, 124 and 128 bytes, told apart by where the payload's magic is.
"""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import Address, Word, clean
from bareflow_gdb.guest.code.bitcode import HEADER_SIZES, LARGEST, PAYLOAD_MAGIC, Bitcode
from bareflow_gdb.guest.stock.signatures import is_name
from bareflow_gdb.guest.stock.window import START, Window

_MOST = 64


def find_bitcode(window: Window) -> tuple[Bitcode, ...]:
    """All wrapped bitcode of the window by address, at most 64; a module's name stands for the function's."""
    magic = layouts.const("BITCODE_MAGIC").to_bytes(4, "little")
    found: list[Bitcode] = []
    at = window.data.find(magic)
    while at >= 0 and len(found) < _MOST:
        one = _wrapped(window, START + at)
        if one is not None:
            found.append(one)
        at = window.data.find(magic, at + 1)
    return tuple(found)


def _wrapped(window: Window, address: int) -> Bitcode | None:
    size = layouts.size("bitcode_header")
    data = window.bytes(address, size + len(PAYLOAD_MAGIC))
    if data is None:
        return None
    raw = layouts.unpack("bitcode_header", data)
    header = next((n for n in HEADER_SIZES if data[n : n + len(PAYLOAD_MAGIC)] == PAYLOAD_MAGIC), 0)
    if not header or not is_name(raw.module_name) or not 0 < raw.bitcode_size <= LARGEST or raw.opt_level > 3:
        return None
    name = clean(raw.module_name)
    return Bitcode(
        function=name,
        address=Address(address),
        size=header + raw.bitcode_size,
        magic=Word(raw.magic),
        module=name,
        entry=clean(raw.entry_name),
        payload=Address(address + header),
        payload_size=raw.bitcode_size,
        header_size=header,
        version=raw.version,
        level=raw.opt_level,
        problems=(),
    )
