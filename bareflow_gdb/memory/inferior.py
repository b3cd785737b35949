"""Reads guest memory through gdb, whatever gdb is connected to.

The only file outside gdb_ui/ that imports gdb.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import Unreachable
from bareflow_gdb.foreign import printable, sentence
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.gdbstub import physical_mode
from bareflow_gdb.memory.paging import PG
from bareflow_gdb.memory.protocol import RAM_SIZE, SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, ram_ranges

if TYPE_CHECKING:
    from bareflow_gdb.memory.core import ElfCore

# QEMU's gdbstub announces packets of 4,096 characters: gdb reads 2,048 and writes 2,032 bytes by each.
READ_PACKET = 2048
WRITE_PACKET = 2032
_MI_RECORD = re.compile(r'@"((?:[^"\\]|\\.)*)"')

# gdb makes no value of more than `max-value-size`, 64 KiB if not set otherwise.
VALUE_BYTES = 32 << 10


class InferiorMemory(CheckedMemory):
    """gdb's selected inferior. `live` is False: what is read is the state of this stop."""

    name = "gdb inferior"
    packet_bytes = READ_PACKET
    asking = False
    """Is a command to the monitor its own at this moment? It only asks, whatever the user's may do."""

    def __init__(self, ram_size: int = RAM_SIZE) -> None:
        super().__init__(ram_ranges(ram_size))
        self.ram_is_guessed = _connection_type() != "core"
        self._written = False
        self._said: dict[str, str] = {}
        self._screen = b""
        self._paged: bool | None = None

    def _fetch(self, address: int, size: int) -> bytes:
        data = self._read(address, size)
        if _connection_type() != "core":
            self.packets += -(-size // READ_PACKET)
        return data

    def _read(self, address: int, size: int) -> bytes:
        if self._is_paged():
            return self._physical(address, size)
        try:
            return _bytes_at(address, size)
        except gdb.MemoryError as error:
            raise Unreachable("gdb cannot access it") from error
        except gdb.error as error:
            raise Unreachable(f"gdb says: {_sentence(error)}") from error

    def _is_paged(self) -> bool:
        """CR0.PG at this stop: then gdb's own reads are by linear addresses. Of what gdb knows already: no packet."""
        if self._paged is None:
            # To find the frame gdb may ask an unwinder of the suite, which may read memory.
            self._paged = False
            if isinstance(gdb.selected_inferior().connection, gdb.RemoteTargetConnection):
                with contextlib.suppress(gdb.error, ValueError):
                    self._paged = bool(int(gdb.parse_and_eval("$cr0")) & PG)
        return self._paged

    def _physical(self, address: int, size: int) -> bytes:
        """Past gdb, which would keep what it read under the linear address."""
        connection = gdb.selected_inferior().connection
        if not isinstance(connection, gdb.RemoteTargetConnection):
            raise Unreachable("the connection is gone")
        self.packets += 2
        if connection.send_packet(physical_mode(True)) != b"OK":
            raise Unreachable("paging is on, and this stub reads no physical memory; is it QEMU's?")
        try:
            parts = []
            for at in range(0, size, READ_PACKET):
                length = min(READ_PACKET, size - at)
                answer = connection.send_packet(f"m{address + at:x},{length:x}") or b""
                parts.append(bytes.fromhex(answer.decode("ascii")))
            return b"".join(parts)
        except ValueError as error:
            raise Unreachable("the stub refused") from error
        finally:
            connection.send_packet(physical_mode(False))

    def _store(self, address: int, data: bytes) -> None:
        if self._is_paged():
            raise Unreachable("paging is on: this memory is read by physical addresses, and not written")
        try:
            gdb.selected_inferior().write_memory(address, data)
        except gdb.error as error:
            raise Unreachable(f"gdb says: {_sentence(error)}") from error
        # The first write of a connection is preceded by a probe for binary packets.
        self.packets += -(-len(data) // WRITE_PACKET) + (not self._written)
        self._written = True

    def invalidate(self) -> None:
        super().invalidate()
        self._said.clear()
        self._paged = None
        self._screen = b""

    def screen(self) -> bytes:
        if not self._screen:
            core = _core()
            self._screen = core.screen() if core is not None else self._read(SCREEN_ADDRESS, SCREEN_BYTES)
            self.packets += 0 if core is not None else -(-SCREEN_BYTES // READ_PACKET)
        return self._screen

    def monitor(self, command: str) -> str:
        core = _core()
        if core is not None:
            return core.monitor(command)
        if command not in self._said:
            InferiorMemory.asking = True
            try:
                self._said[command] = _plain(gdb.execute(f"monitor {printable(command)}", to_string=True))
            except gdb.error as error:
                raise Unreachable(f"gdb says to `monitor {command}`: {_sentence(error)}") from error
            finally:
                InferiorMemory.asking = False
            self.packets += 1
        return self._said[command]

    def cpu(self) -> CpuRegisters:
        core = _core()
        return core.cpu() if core is not None else super().cpu()


def _plain(said: str) -> str:
    """What the monitor said; gdb 18 under MI gives it as MI's own records, `@"text\\n"`."""
    if said.startswith('@"'):
        parts = _MI_RECORD.findall(said)
        said = "".join(codecs.decode(part, "unicode_escape") for part in parts)
    return said.replace("\r", "")


def _core() -> ElfCore | None:
    """The core file that gdb has, read here: gdb knows neither QEMU's register notes nor its screen."""
    if _connection_type() != "core":
        return None
    from bareflow_gdb.memory.core import ElfCore

    found = re.search(r"`(.+)', file type", gdb.execute("info files", to_string=True).partition("core dump")[2])
    if found is None:
        raise Unreachable("gdb does not say where its core file is; ask `bareflow` about the core")
    return ElfCore(Path(found[1]))


def _connection_type() -> str:
    connection = gdb.selected_inferior().connection
    return str(connection.type) if connection is not None else ""


def _bytes_at(address: int, size: int) -> bytes:
    """As `Inferior.read_memory`, which makes gdb 18 abort when the connection breaks meanwhile."""
    if not hasattr(gdb.Value, "bytes"):
        return bytes(gdb.selected_inferior().read_memory(address, size))
    byte = gdb.lookup_type("unsigned char")
    parts = []
    for at in range(0, size, VALUE_BYTES):
        last = min(VALUE_BYTES, size - at) - 1
        pointer = gdb.Value(address + at).cast(byte.array(last).pointer())
        parts.append(bytes(pointer.dereference().bytes))
    return b"".join(parts)


def _sentence(error: BaseException) -> str:
    return sentence(str(error)).rstrip(".")
