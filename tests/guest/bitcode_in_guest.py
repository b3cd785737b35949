"""How does a test change the bitcode in guest memory? It writes another one, no longer, over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.functions import Function
from bareflow_gdb.memory.protocol import Memory


@contextmanager
def replaced(memory: Memory, function: Function, payload: bytes) -> Iterator[None]:
    """The function's payload and the size in its header are others; afterwards the old ones are back."""
    original = memory.read(function.bitcode, function.bitcode_size, "bitcode")
    header = layouts.size("bitcode_header_t")
    assert len(payload) <= len(original) - header, "the new bitcode must fit where the old one lies"
    try:
        memory.write(function.bitcode + header, payload, "bitcode")
        announce(memory, function, len(payload))
        yield
    finally:
        memory.write(function.bitcode, original, "bitcode")


def announce(memory: Memory, function: Function, size: int) -> None:
    """Writes the payload's size into the header."""
    at = function.bitcode + layouts.offset("bitcode_header_t", "bitcode_size")
    memory.write(at, size.to_bytes(4, "little"), "bitcode size")
