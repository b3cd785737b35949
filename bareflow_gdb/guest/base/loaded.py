"""Where is a kernel loaded? Its signature tells, at one of the addresses that loaders in the field use."""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.memory.protocol import KERNEL_BASES, Memory

USUAL = KERNEL_BASES[0]


def kernel_base(memory: Memory) -> int | None:
    """The address of the signature; None when no kernel is in memory. One packet where it usually is."""
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    return next((base for base in KERNEL_BASES if _word(memory, base) == signature), None)


def _word(memory: Memory, address: int) -> bytes:
    try:
        return memory.read(address, 4, "kernel signature")
    except ReadError:
        return b""
