"""Where is the header of a module, when it does not stand before its code? Its record is sought in the image.

Nothing beyond the window that holds the kernel's records is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.stock.window import Window


def header_of(window: Window, name: str, code: int) -> Address | None:
    """The record with this name, of several one that leads to the module's code; None without one."""
    found = [(at, header) for at, header in headers_in(window) if clean(header.name) == name]
    return min(found, key=lambda one: (one[1].entry_point != code, one[0]), default=(None, None))[0]


def headers_in(window: Window) -> Iterator[tuple[Address, Any]]:
    """Every header record with its address."""
    magic = layouts.const("MODULE_MAGIC").to_bytes(4, "little")
    at = window.data.find(magic)
    while at >= 0:
        data = window.bytes(window.start + at, layouts.size("module_header"))
        if data is not None:
            yield Address(window.start + at), layouts.unpack("module_header", data)
        at = window.data.find(magic, at + 1)
