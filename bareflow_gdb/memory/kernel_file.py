"""Reads a kernel's file as memory: its parts where they would be loaded, zeros everywhere else. Nothing has run."""

from __future__ import annotations

from collections.abc import Iterable

from bareflow_gdb.memory.protocol import CheckedMemory


class KernelFile(CheckedMemory):
    """`parts` are addresses with what would be loaded there."""

    name = "kernel file"

    def __init__(self, parts: Iterable[tuple[int, bytes]]) -> None:
        super().__init__()
        self._parts = tuple(parts)

    def _fetch(self, address: int, size: int) -> bytes:
        found = bytearray(size)
        for start, data in self._parts:
            first, last = max(start, address), min(start + len(data), address + size)
            if first < last:
                found[first - address : last - address] = data[first - start : last - start]
        return bytes(found)
