"""Where is a kernel loaded? Its signature tells, at one of the addresses that loaders in the field use."""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.memory.protocol import Memory

USUAL = 0x10000
_OTHERS = (0x1000, 0x8000, 0x20000, 0x100000)


def kernel_base(memory: Memory) -> int | None:
    """The address of the signature; None when no kernel is in memory. One packet where it usually is."""
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    return next((base for base in (USUAL, *_OTHERS) if _word(memory, base) == signature), None)


def _word(memory: Memory, address: int) -> bytes:
    try:
        return memory.read(address, 4, "kernel signature")
    except ReadError:
        return b""
