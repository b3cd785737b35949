"""Reads a running machine's RAM from the host, guest not stopped: the file behind QEMU's memory backend.

A store made here is seen by the guest as data. It must not go to code: QEMU's translator does not see it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

from bareflow_gdb.errors import Unreachable
from bareflow_gdb.memory.protocol import CheckedMemory, ram_ranges
from bareflow_gdb.small_files import NotAFile, open_plain


class QemuRam(CheckedMemory):
    """RAM file of QEMU (`memory-backend-file,share=on`), mapped."""

    name = "QEMU RAM"
    live = True

    def __init__(
        self,
        path: Path,
        *,
        screen: Callable[[], bytes] | None = None,
        monitor: Callable[[str], str] | None = None,
        alive: Callable[[], bool] | None = None,
        writable: bool = True,
    ) -> None:
        """`screen` fetches the VGA text, `monitor` asks QEMU's monitor; `alive`: does QEMU still run?"""
        self._map, size = _map_file(path, writable)
        super().__init__(ram_ranges(size))
        self.path = path
        self.writable = writable
        self._view = memoryview(self._map)
        self._words = self._view[: size & ~3].cast("I")
        self._screen = screen
        self._monitor = monitor
        self._alive = alive

    def view(self, address: int, size: int, what: str) -> memoryview:
        """`size` bytes at `address` without a copy: it changes while the guest runs. Raises ReadError."""
        self._check(address, size, what, "read")
        return self._view[address : address + size]

    def _fetch(self, address: int, size: int) -> bytes:
        if self._alive is not None and not self._alive():
            raise Unreachable("QEMU is gone; use a core or the trace of that machine")
        return self._map[address : address + size]

    def _store(self, address: int, data: bytes) -> None:
        if not self.writable:
            raise Unreachable("the RAM file is open for reading only")
        if self._alive is not None and not self._alive():
            raise Unreachable("QEMU is gone; nothing reads this memory any more")
        if len(data) == 4 and address % 4 == 0:
            # One 32-bit store: the guest must never see half of a state word.
            self._words[address // 4] = int.from_bytes(data, "little")
        else:
            self._map[address : address + len(data)] = data

    def screen(self) -> bytes:
        return self._screen() if self._screen is not None else super().screen()

    def monitor(self, command: str) -> str:
        return self._monitor(command) if self._monitor is not None else super().monitor(command)

    def close(self) -> None:
        """Unmaps the file; views given out keep it mapped until they are released."""
        self._words.release()
        self._view.release()
        self._map.close()


def _map_file(path: Path, writable: bool) -> tuple[mmap.mmap, int]:
    try:
        # What a damaged machine.json names may be anything.
        file = open_plain(path, os.O_RDWR if writable else os.O_RDONLY)
    except NotAFile as error:
        raise Unreachable(f"the guest's RAM file {path} is no file but {error.kind}; see `bareflow list`") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Unreachable(f"the guest's RAM file {path} cannot be opened ({why})") from error
    with file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise Unreachable(f"the guest's RAM file {path} is empty; is QEMU still starting?")
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            return mmap.mmap(file.fileno(), size, access=access), size
        except OSError as error:
            raise Unreachable(f"the guest's RAM file {path} cannot be mapped ({error.strerror})") from error
