"""How does guest memory come to the worker that runs guest code? In a file without a name, which both have mapped.

The guest runs on while it is copied. Old and new code are run over the same copy.
"""

from __future__ import annotations

import mmap
import os

from bareflow_gdb.abi import layouts
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, RAM_SIZE, Memory, Range


class Snapshot:
    """The side that copies."""

    def __init__(self) -> None:
        self.file = os.memfd_create("guest memory")
        os.ftruncate(self.file, RAM_SIZE)

    def take(self, memory: Memory) -> tuple[Range, ...]:
        """Copies what functions use of guest memory; returns the ranges. Raises ReadError, OSError."""
        # Kernel, stack, heap and pools: what functions read and write. Rings and mailbox are the suite's.
        copied = ((0, DEVICES_START), (DEVICES_END, layouts.const("BF_RING0_HEADER")))
        known = [
            (max(start, begin), min(end, stop))
            for start, end in copied
            for begin, stop in memory.ranges
            if max(start, begin) < min(end, stop)
        ]
        for start, end in known:
            os.pwrite(self.file, memory.read(start, end - start, "what new code is verified over"), start)
        return tuple(known)

    def content(self, span: Range) -> bytes:
        """What was copied of one of the ranges."""
        return os.pread(self.file, span[1] - span[0], span[0])

    def close(self) -> None:
        """Its memory is given back when the worker has ended, too."""
        os.close(self.file)


def mapped(file: int) -> mmap.mmap:
    """The worker's side; guest address = offset."""
    return mmap.mmap(file, RAM_SIZE, prot=mmap.PROT_READ)
