"""Is the bitcode of one function right, of which generation is its header, who made it?

Read budget: 4 packets to find the function, 1 for the header, 4 for the beginning of the payload.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.root import is_ram
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import Bitcode, read_wrapper
from bareflow_gdb.guest.code.bitstream import Producer, read_producer
from bareflow_gdb.memory.protocol import Memory

_READ_BYTES = 8192
"""Enough for what stands before the functions."""
_GENERATIONS = {
    128: "128 bytes, as documented",
    124: "124 bytes, as the stock wrapper tool writes it",
    120: "120 bytes, as the stock C header has it",
    0: "unknown: no payload where any generation has it",
}


@dataclass(frozen=True)
class BitcodeReport:
    """One function's bitcode."""

    bitcode: Bitcode
    generation: str
    """Of the header; "" = the function has no bitcode."""
    producer: Producer | None
    problems: tuple[str, ...]


def read_bitcode_at(memory: Memory, address: int) -> BitcodeReport:
    """The bitcode whose header is at an address. Raises UsageError when that is not RAM."""
    if not is_ram(address):
        raise UsageError(f"0x{address:08x} is not RAM: no bitcode can be there")
    return report_bitcode(memory, read_wrapper(memory, "", Address(address)))


def report_bitcode(memory: Memory, bitcode: Bitcode) -> BitcodeReport:
    """The report of a wrapper that was found already. Raises ReadError."""
    if not bitcode.address:
        return BitcodeReport(bitcode, "", None, ())
    problems = list(bitcode.problems)
    producer = None
    if bitcode.payload and bitcode.payload_size > 0:
        size = min(bitcode.payload_size, _READ_BYTES)
        try:
            producer = read_producer(memory.read(bitcode.payload, size, f"bitcode of {bitcode.function}"))
        except BareflowError as error:
            problems.append(str(error))
    return BitcodeReport(bitcode, _GENERATIONS[bitcode.header_size], producer, tuple(problems))
