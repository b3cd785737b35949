"""Which bytes of the bitcode in guest memory are LLVM's, and which function does it start with?"""

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import clean
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile.refusal import BadBitcode

BITCODE_START = b"BC\xc0\xde"
PAYLOAD_LIMIT = 1 << 20
# Headers in the field have 120, 124 or 128 bytes.
_SMALLEST_HEADER = 120


@dataclass(frozen=True)
class Wrapped:
    """A wrapped bitcode file, its header believed only where it can be checked."""

    name: str
    entry: str
    payload: bytes
    header_size: int  # where the payload really begins


def read_wrapped(memory: Memory, address: int, size: int) -> Wrapped:
    """Decode `size` bytes of header and payload at `address`; raises BadBitcode or ReadError."""
    _check_size(size)
    return unwrap(memory.read(address, size, "bitcode"), f"at 0x{address:08x}")


def unwrap(data: bytes, where: str = "at the beginning of the file") -> Wrapped:
    """Decode header and payload; raises BadBitcode."""
    _check_size(len(data))
    header = layouts.unpack("bitcode_header_t", data)
    if header.magic != layouts.const("BITCODE_MAGIC"):
        raise BadBitcode(f"no bitcode header {where} (magic 0x{header.magic:08x}); load its module again")
    start = data.find(BITCODE_START, _SMALLEST_HEADER, layouts.size("bitcode_header_t") + len(BITCODE_START))
    if start < 0:
        raise BadBitcode("no LLVM payload (42 43 c0 de) follows the bitcode header; wrap the bitcode again")
    if not 1 <= header.bitcode_size <= len(data) - start:
        raise BadBitcode(
            f"the bitcode header promises {header.bitcode_size} bytes and {len(data) - start} are there; "
            "load its module again"
        )
    entry = clean(header.entry_name)
    if not entry.isidentifier():
        raise BadBitcode(f"the bitcode header names no entry function ({entry!r}); wrap the bitcode again")
    return Wrapped(clean(header.module_name), entry, data[start : start + header.bitcode_size], start)


def _check_size(size: int) -> None:
    full_header = layouts.size("bitcode_header_t")
    if not full_header < size <= full_header + PAYLOAD_LIMIT:
        raise BadBitcode(
            f"the function's bitcode has {size} bytes, which is not possible; load its module again"
        )
