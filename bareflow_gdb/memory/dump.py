"""Reads a raw dump of physical memory: the offset in the file, from where the dump begins, is the address."""

from __future__ import annotations

from pathlib import Path

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.memory.contents import Contents
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, ram_ranges

LARGEST = 1 << 32


class RawDump(CheckedMemory):
    """A file that holds RAM from address `base` on, as QMP `pmemsave` and `memsave` write it."""

    name = "raw dump"

    def __init__(self, path: Path | Contents, base: int = 0) -> None:
        """Raises UsageError, Unreachable when the file cannot be opened, BadData when it cannot be a dump."""
        self._file = path if isinstance(path, Contents) else Contents(path)
        self.path = self._file.path
        self.base = base
        end = base + self._file.size
        if not 0 <= base < LARGEST:
            raise UsageError(f"a dump cannot begin at 0x{base:x}; --base takes an address below 4 GiB")
        if end > LARGEST:
            raise BadData(f"{self.path} is larger than a 32-bit machine's memory; is it a dump?")
        super().__init__((max(start, base), stop) for start, stop in ram_ranges(end) if stop > base)

    def _fetch(self, address: int, size: int) -> bytes:
        return self._file.read(address - self.base, size)

    def screen(self) -> bytes:
        at = SCREEN_ADDRESS - self.base
        data = self._file.read(at, SCREEN_BYTES) if at >= 0 else b""
        # A copy of QEMU's RAM file has zeros there; a text screen has attributes that are not 0.
        if len(data) < SCREEN_BYTES or not any(data):
            return super().screen()
        return data
