"""Reads guest memory through gdb, whatever gdb is connected to.

The only file outside gdb_ui/ that imports gdb.
"""

from __future__ import annotations

import gdb

from bareflow_gdb.errors import Unreachable
from bareflow_gdb.memory.protocol import RAM_SIZE, SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, ram_ranges

# QEMU's gdbstub announces packets of 4,096 characters: gdb reads 2,048 and writes 2,032 bytes by each.
READ_PACKET = 2048
WRITE_PACKET = 2032


class InferiorMemory(CheckedMemory):
    """gdb's selected inferior. `live` is False: what is read is the state of this stop."""

    name = "gdb inferior"
    packet_bytes = READ_PACKET

    def __init__(self, ram_size: int = RAM_SIZE) -> None:
        super().__init__(ram_ranges(ram_size))
        self._written = False

    def _fetch(self, address: int, size: int) -> bytes:
        data = self._read(address, size)
        if _connection_type() != "core":
            self.packets += -(-size // READ_PACKET)
        return data

    def _read(self, address: int, size: int) -> bytes:
        try:
            return bytes(gdb.selected_inferior().read_memory(address, size))
        except gdb.MemoryError as error:
            raise Unreachable("gdb cannot access it") from error
        except gdb.error as error:
            raise Unreachable(f"gdb says: {_sentence(error)}") from error

    def _store(self, address: int, data: bytes) -> None:
        try:
            gdb.selected_inferior().write_memory(address, data)
        except gdb.error as error:
            raise Unreachable(f"gdb says: {_sentence(error)}") from error
        # The first write of a connection is preceded by a probe for binary packets.
        self.packets += -(-len(data) // WRITE_PACKET) + (not self._written)
        self._written = True

    def screen(self) -> bytes:
        data = self._read(SCREEN_ADDRESS, SCREEN_BYTES)
        self.packets += -(-SCREEN_BYTES // READ_PACKET)
        return data


def _connection_type() -> str:
    connection = gdb.selected_inferior().connection
    return str(connection.type) if connection is not None else ""


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
