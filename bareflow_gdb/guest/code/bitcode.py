"""Which bitcode does a function carry, and is its wrapper right?

Read budget: 1 packet per function.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.code.functions import Function
from bareflow_gdb.memory.protocol import Memory

PAYLOAD_MAGIC = b"BC\xc0\xde"
LARGEST = 1 << 20
"""Bytes of payload."""
HEADER_SIZES = (128, 124, 120)
"""As documented; as the stock wrapper tool writes it; as the stock C header has it."""


@dataclass(frozen=True)
class Bitcode:
    """`bitcode_header_t` and where the payload really begins."""

    function: str
    address: Address
    """Of the header; 0 = the function has no bitcode."""
    size: int
    """Bytes of header and payload by the function table."""
    magic: Word
    module: str
    entry: str
    payload: Address
    """Where `42 43 C0 DE` is; 0 = not found."""
    payload_size: int
    """Bytes by the header."""
    header_size: int
    version: int
    level: int
    problems: tuple[str, ...]


def read_bitcode(memory: Memory, function: Function) -> Bitcode:
    """The wrapper of one function's bitcode; what is wrong with it is in `problems`, nothing is raised."""
    if not function.bitcode:
        return Bitcode(function.name, Address(0), 0, Word(0), "", "", Address(0), 0, 0, 0, 0, ())
    return read_wrapper(memory, function.name, function.bitcode, function.bitcode_size)


def read_wrapper(memory: Memory, name: str, address: Address, size: int = 0) -> Bitcode:
    """The wrapper at an address; `size` is that of header and payload when something tells it."""
    try:
        data = memory.read(address, wrapper_bytes(), f"bitcode of {name}" if name else "bitcode")
    except ReadError as error:
        problems = (str(error),)
        return Bitcode(name, address, size, Word(0), "", "", Address(0), 0, 0, 0, 0, problems)
    return decode_wrapper(data, name, address, size)


def wrapper_bytes() -> int:
    """Bytes that hold a header of any size and the magic of its payload."""
    return layouts.size("bitcode_header") + len(PAYLOAD_MAGIC)


def decode_wrapper(data: bytes, name: str, address: Address, size: int = 0) -> Bitcode:
    """The wrapper from its first `wrapper_bytes()` bytes."""
    raw = layouts.unpack("bitcode_header", data)
    header = next((n for n in HEADER_SIZES if data[n : n + len(PAYLOAD_MAGIC)] == PAYLOAD_MAGIC), 0)
    return Bitcode(
        function=name,
        address=address,
        size=size or header + raw.bitcode_size,
        magic=Word(raw.magic),
        module=clean(raw.module_name),
        entry=clean(raw.entry_name),
        payload=Address(address + header if header else 0),
        payload_size=raw.bitcode_size,
        header_size=header,
        version=raw.version,
        level=raw.opt_level,
        problems=tuple(_problems(size, raw.magic, raw.bitcode_size, header)),
    )


def _problems(size: int, magic: int, payload: int, header: int) -> list[str]:
    found: list[str] = []
    if magic != layouts.const("BITCODE_MAGIC"):
        found.append(f"the wrapper has magic 0x{magic:08x}, not LLBC")
    if not header:
        found.append("no payload follows the wrapper: 42 43 C0 DE is at none of the offsets 120, 124, 128")
    elif size and header != HEADER_SIZES[0]:
        found.append(f"the payload begins at offset {header}, not 128: an old wrapper tool made it")
    if not 0 < payload <= LARGEST:
        found.append(f"the wrapper claims {payload} bytes of payload; 1 byte to 1 MiB can be right")
    elif header and size and header + payload > size:
        found.append(f"the wrapper claims {payload} bytes of payload, {size - header} are there")
    return found
