"""Which bytes of the bitcode in guest memory are LLVM's, and which function does it start with?"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import LARGEST, decode_wrapper
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile.refusal import BadBitcode


@dataclass(frozen=True)
class Wrapped:
    """A wrapped bitcode file, its header believed only where it can be checked."""

    entry: str
    payload: bytes


def read_wrapped(memory: Memory, address: int, size: int) -> Wrapped:
    """Decodes `size` bytes of header and payload at `address`; raises BadBitcode or ReadError."""
    _check_size(size)
    return unwrap(memory.read(address, size, "bitcode"), f"at 0x{address:08x}")


def unwrap(data: bytes, where: str = "at the beginning of the file") -> Wrapped:
    """Decodes header and payload; raises BadBitcode."""
    _check_size(len(data))
    header = decode_wrapper(data, "", Address(0))
    if header.magic != layouts.const("BITCODE_MAGIC"):
        raise BadBitcode(f"no bitcode header {where} (magic 0x{header.magic:08x}); load its module again")
    start, size = header.header_size, header.payload_size
    if not start:
        raise BadBitcode("no LLVM payload (42 43 c0 de) follows the bitcode header; wrap the bitcode again")
    if not 1 <= size <= len(data) - start:
        raise BadBitcode(
            f"the bitcode header promises {size} bytes and {len(data) - start} are there; load its module again"
        )
    if not header.entry.isidentifier():
        raise BadBitcode(f"the bitcode header names no entry function ({header.entry!r}); wrap the bitcode again")
    return Wrapped(header.entry, data[start : start + size])


def _check_size(size: int) -> None:
    full_header = layouts.size("bitcode_header_t")
    if not full_header < size <= full_header + LARGEST:
        raise BadBitcode(f"the function's bitcode has {size} bytes, which is not possible; load its module again")
