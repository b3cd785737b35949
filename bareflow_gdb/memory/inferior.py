"""Reads guest memory through gdb's own connection: the only reader that needs `import gdb`.

Works while the guest is stopped, and on a core that gdb has open. About 2 KB a packet.
"""

from __future__ import annotations

from collections.abc import Iterable

import gdb

from bareflow_gdb.errors import Unreachable
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, Range

PACKET_BYTES = 2048
"""What gdb asks for at once: QEMU's packets hold 4,096 characters, two for each byte."""


class InferiorMemory(CheckedMemory):
    """gdb's selected inferior; `packets` is an estimate, a proxy in the tests counts the real ones."""

    name = "gdb inferior"
    live = True
    cache_line = 64

    def __init__(self, ranges: Iterable[Range] | None = None) -> None:
        super().__init__(ranges)
        connection = gdb.selected_inferior().connection
        self.live = connection is not None and connection.type != "core"

    def _fetch(self, address: int, size: int) -> bytes:
        self.packets += -(-size // PACKET_BYTES)
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except gdb.error as error:
            raise Unreachable(_sentence(error)) from error

    def _store(self, address: int, data: bytes) -> None:
        self.packets += 1
        try:
            gdb.selected_inferior().write_memory(address, data)
        except gdb.error as error:
            raise Unreachable(_sentence(error)) from error

    def screen(self) -> bytes:
        if not self.live:
            return super().screen()
        return self._fetch(SCREEN_ADDRESS, SCREEN_BYTES)


def _sentence(error: gdb.error) -> str:
    return "gdb says: " + " ".join(str(error).split()).rstrip(".")
