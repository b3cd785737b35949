"""What is in the memory where a stock kernel keeps everything: its image, its .bss, its stack?

512 KiB, read once in pieces of 64 KiB: about 256 packets over a gdbstub, some milliseconds from QEMU's RAM.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.memory.protocol import Memory

Progress = Callable[[str], None]

LOWEST = 0x1000
"""No kernel is loaded below."""
END = 0x90000
STACK = 0x80000
_CHUNK = 0x10000
_PATIENCE_SECONDS = 1.0


class Window:
    """The bytes from a kernel's first one to END, and whatever else a pointer leads to."""

    def __init__(self, memory: Memory, progress: Progress | None = None) -> None:
        self.memory = memory
        # One that lies higher has its stack below all the same.
        self.start = min(kernel_base(memory) or USUAL, USUAL)
        self.data = _read(memory, self.start, progress)

    @cached_property
    def words(self) -> array[int]:
        """The same bytes as aligned words; word i is at start + 4 * i."""
        words = array("I", self.data)
        if sys.byteorder != "little":
            words.byteswap()
        return words

    @cached_property
    def _small(self) -> list[int]:
        return [index for index, word in enumerate(self.words) if 0 < word <= 32]

    def counts(self, most: int) -> Iterator[int]:
        """The addresses of all words that could be a count: 1 to `most`, at most 32."""
        words = self.words
        return (self.start + 4 * index for index in self._small if words[index] <= most)

    def word(self, address: int) -> int:
        """The aligned word at an address of the window."""
        return self.words[(address - self.start) // 4]

    def has(self, address: int, size: int) -> bool:
        """Are these bytes inside the window?"""
        return address >= self.start and address + size <= END

    def bytes(self, address: int, size: int) -> bytes | None:
        """Bytes of the window, or of other RAM; None where nothing can be read."""
        if self.has(address, size):
            return self.data[address - self.start : address - self.start + size]
        try:
            return self.memory.read(address, size, "what a pointer leads to")
        except ReadError:
            return None


def _read(memory: Memory, start: int, progress: Progress | None) -> bytes:
    parts = []
    since = time.monotonic()
    for base in range(start, END, _CHUNK):
        size = min(_CHUNK, END - base)
        try:
            parts.append(memory.read(base, size, "search for the kernel's records"))
        except ReadError:
            # A core or dump may end before: zeros are taken for nothing.
            parts.append(bytes(size))
        if progress is not None and time.monotonic() - since > _PATIENCE_SECONDS:
            done = base + size - start
            progress(f"searching for the kernel's records: {done >> 10} of {END - start >> 10} KiB read")
    return b"".join(parts)
