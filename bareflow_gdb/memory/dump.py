"""Reads a raw dump of physical memory: the offset in the file is the address."""

from __future__ import annotations

import mmap
from pathlib import Path

from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, ram_ranges

LARGEST = 1 << 32


class RawDump(CheckedMemory):
    """A file that holds RAM from address 0 on, as QMP `pmemsave` and `memsave` write it."""

    name = "raw dump"

    def __init__(self, path: Path) -> None:
        """Raises Unreachable when the file cannot be opened, BadData when it cannot be a dump."""
        self.path = path
        self._map = map_file(path)
        if len(self._map) > LARGEST:
            raise BadData(f"{path} is larger than a 32-bit machine's memory; is it a dump?")
        super().__init__(ram_ranges(len(self._map)))

    def _fetch(self, address: int, size: int) -> bytes:
        return self._map[address : address + size]

    def screen(self) -> bytes:
        data = self._map[SCREEN_ADDRESS : SCREEN_ADDRESS + SCREEN_BYTES]
        # A copy of QEMU's RAM file has zeros there; a text screen has attributes that are not 0.
        if len(data) < SCREEN_BYTES or not any(data):
            return super().screen()
        return data


def map_file(path: Path) -> mmap.mmap:
    """The file, mapped for reading."""
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise BadData(f"{path} is empty; give a dump of guest memory") from error
    except OSError as error:
        raise Unreachable(f"{path} cannot be opened ({error.strerror})") from error
