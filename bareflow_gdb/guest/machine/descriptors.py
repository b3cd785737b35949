"""What is in the descriptor tables: segments in the GDT, gates in the IDT?

Read budget: a GDT 1 packet, an IDT 1. Formats: Intel SDM volume 3A, 3.4.5 and 6.11.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.machine.exception import NAMES
from bareflow_gdb.guest.names.names import Names
from bareflow_gdb.memory.protocol import Memory

_SYSTEM = {1: "16-bit TSS", 2: "LDT", 3: "16-bit TSS, busy", 9: "TSS", 11: "TSS, busy", 12: "call gate"}
_GATES = {5: "task gate", 6: "16-bit interrupt gate", 7: "16-bit trap gate", 14: "interrupt gate", 15: "trap gate"}
"""Intel SDM volume 3A, table 3-2."""
MOST_GATES = 256
_MOST_DESCRIPTORS = 64
ENTRY_BYTES = 8


@dataclass(frozen=True)
class Descriptor:
    """An entry of the GDT."""

    selector: Word
    kind: str
    base: Address
    limit: Word
    """Last byte, the granularity applied."""
    ring: int
    present: bool


@dataclass(frozen=True)
class Gate:
    """A present entry of the IDT."""

    vector: int
    meaning: str
    kind: str
    selector: Word
    handler: Address
    ring: int
    name: str
    """Of the handler, or the region it is in."""
    problem: str


def read_gates(memory: Memory, base: int, size: int, names: Names) -> list[Gate]:
    """The present gates of an IDT. Raises ReadError."""
    data = memory.read(base, min(size, MOST_GATES * ENTRY_BYTES) // ENTRY_BYTES * ENTRY_BYTES, "IDT")
    found = []
    for vector in range(len(data) // ENTRY_BYTES):
        low, selector, _, flags, high = struct.unpack_from("<HHBBH", data, vector * ENTRY_BYTES)
        if flags & 0x80:
            found.append(_gate(vector, selector, flags, low | high << 16, names))
    return found


def _gate(vector: int, selector: int, flags: int, handler: int, names: Names) -> Gate:
    place = names.place(handler)
    kind = _GATES.get(flags & 15, f"type {flags & 15}")
    problem = ""
    if flags & 15 not in _GATES or flags & 0x10:
        problem = f"its type 0x{flags & 31:x} is not that of a gate"
    elif place.region in ("outside RAM", "device memory", "unused RAM", "interrupt vectors"):
        problem = f"its handler 0x{handler:08x} is in {place.region}"
    return Gate(
        vector=vector,
        meaning=meaning(vector),
        kind=kind,
        selector=Word(selector),
        handler=Address(handler),
        ring=flags >> 5 & 3,
        name=place.text,
        problem=problem,
    )


def meaning(vector: int) -> str:
    """What comes by this vector on a PC whose PICs were moved to 0x20."""
    if vector < 32:
        return NAMES.get(vector, "reserved")
    return f"IRQ {vector - 32}" if vector < 48 else f"vector 0x{vector:02x}"


def read_gdt(memory: Memory, base: int, size: int, problems: list[str]) -> tuple[Descriptor, ...]:
    try:
        data = memory.read(base, min(size, _MOST_DESCRIPTORS * ENTRY_BYTES) // ENTRY_BYTES * ENTRY_BYTES, "GDT")
    except BareflowError as error:
        problems.append(f"the GDT cannot be read: {error}")
        return ()
    return tuple(_descriptor(at, data[at : at + ENTRY_BYTES]) for at in range(0, len(data), ENTRY_BYTES))


def _descriptor(selector: int, data: bytes) -> Descriptor:
    """Intel SDM volume 3A, 3.4.5."""
    limit, base, middle, access, flags, high = struct.unpack("<HHBBBB", data)
    limit |= (flags & 15) << 16
    if flags & 0x80:
        limit = limit << 12 | 0xFFF
    present = bool(access & 0x80)
    if not any(data):
        kind = "null"
    elif access & 0x10:
        wide = "32-bit" if flags & 0x40 else "16-bit"
        kind = f"{wide} code" if access & 8 else f"{wide} data"
        if not access & 8:
            kind += ", writable" if access & 2 else ", read-only"
    else:
        kind = _SYSTEM.get(access & 15, f"system type {access & 15}")
    return Descriptor(
        selector=Word(selector),
        kind=kind,
        base=Address(base | middle << 16 | high << 24),
        limit=Word(limit),
        ring=access >> 5 & 3,
        present=present,
    )
