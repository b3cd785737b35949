"""Which reader of a guest's memory is the best one that works? The fastest first, verified, silently the next."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.memory.protocol import Memory

# A place where every kernel has bytes that differ from those of another: image header and first code.
COMPARED_ADDRESS = 0x10000
COMPARED_BYTES = 256
# How long a stub is waited for whose guest can be read without it: a gdb may be connected.
BESIDE_SECONDS = 3.0

Opener = Callable[[], Memory]


def choose(reference: Memory, *faster: Opener) -> Memory:
    """The first of `faster` that opens and has the bytes that `reference` has, else `reference` itself.

    The guest must not be changing them meanwhile: they are its code.
    """
    for opener in faster:
        try:
            memory = opener()
            if same_bytes(memory, reference):
                return memory
        except BareflowError:
            continue
    return reference


def same_bytes(one: Memory, other: Memory) -> bool:
    """Do both show the same guest? Costs one packet over a gdbstub."""
    return _sample(one) == _sample(other)


def _sample(memory: Memory) -> bytes:
    return memory.read(COMPARED_ADDRESS, COMPARED_BYTES, "comparison of two readers")


def for_stub(address: str) -> Memory:
    """The guest behind the gdbstub at `tcp:HOST:PORT` or `unix:PATH`.

    On this host it is read inside the QEMU process, and not stopped; else through the stub, which stops it. What
    memory does not tell (registers, the screen, QEMU's monitor) the stub tells in either case, while it is asked.
    Raises UsageError for a malformed address, Unreachable when nothing answers.
    """
    from bareflow_gdb.memory.gdbstub import GdbStub
    from bareflow_gdb.memory.listeners import behind
    from bareflow_gdb.memory.process_ram import ProcessRam

    pid = behind(address)
    if pid is not None:
        # No right to trace it, or not a booted guest: the stub can still tell.
        with suppress(BareflowError):
            return ProcessRam(pid, lambda: GdbStub.connect(address, timeout=BESIDE_SECONDS))
    return GdbStub.connect(address)
