"""Which bits of a guest's swap tables can be wrong? A seeded choice of places, and whether its functions still return
what they should: each is called through its code pointer, on the host, in the same memory."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from guest_copy import GuestCopy
from swap_tables import EVENT, SwapTables
from unicorn import UC_ARCH_X86, UC_MODE_32, Uc, UcError
from unicorn.x86_const import UC_X86_REG_EAX, UC_X86_REG_ESP, UC_X86_REG_FPCW

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.jit_code import IN_MEMORY

_USED = 8 << 20
"""The RAM that the kernel uses."""
_STACK = 0x90000
_RETURN = 0xFF000000
_MOST_INSTRUCTIONS = 20_000_000
KINDS = ("slot", "code", "block header", "image header", "ring header", "event", "version")


@dataclass(frozen=True)
class Mutation:
    """One bit of one byte."""

    kind: str
    address: int
    bit: int

    def __str__(self) -> str:
        return f"{self.kind}: bit {self.bit} of 0x{self.address:08x}"


class Places:
    """Where the kernel keeps each kind, as [address, size) parts."""

    def __init__(self, tables: SwapTables) -> None:
        there = [one for one in tables.versions if one.state in IN_MEMORY]
        self.slots = {one.name: one.slot for one in tables.functions.values()}
        ring = tables.root.rings[0]
        used = len(tables.events()) * EVENT
        self.parts: dict[str, list[tuple[int, int]]] = {
            "slot": [(slot, 4) for slot in self.slots.values()],
            "code": [(one.code, one.code_size) for one in there],
            "block header": [(address - 16, 16) for address in tables.blocks],
            "image header": [(slot.image, layouts.size("module_header")) for slot in tables.cached],
            "ring header": [(ring, layouts.offset("bf_ring_header", "reserved0")), (ring + 64, 16)],
            "event": [(layouts.const("BF_RING0_RECORDS"), used)],
            "version": [(tables.record_of(one), layouts.size("bf_version")) for one in tables.versions],
        }

    def choose(self, seed: int) -> Iterator[Mutation]:
        """Endless, each kind as often as the others."""
        chance = random.Random(seed)
        while True:
            for kind in KINDS:
                start, size = chance.choice(self.parts[kind])
                yield Mutation(kind, start + chance.randrange(size), chance.randrange(8))


def flip(copy: GuestCopy, mutation: Mutation) -> None:
    byte = copy.ram[mutation.address] ^ 1 << mutation.bit
    copy.write(mutation.address, bytes([byte]), "mutation")


def results(copy: GuestCopy, tables: SwapTables) -> dict[str, int | str]:
    """What each function returns for its default arguments, or how its call ends."""
    found: dict[str, int | str] = {}
    for function in tables.functions.values():
        machine = Uc(UC_ARCH_X86, UC_MODE_32)
        machine.mem_map(0, _USED)
        machine.mem_write(0, bytes(copy.ram[:_USED]))
        machine.mem_map(_RETURN & ~0xFFF, 0x1000)
        machine.reg_write(UC_X86_REG_FPCW, 0x37F)
        words = (_RETURN, *(argument & 0xFFFFFFFF for argument in function.arguments))
        machine.mem_write(_STACK - 64, struct.pack("<3I", *words))
        machine.reg_write(UC_X86_REG_ESP, _STACK - 64)
        (entry,) = struct.unpack("<I", copy.read(function.slot, 4, "slot"))
        try:
            machine.emu_start(entry, _RETURN, count=_MOST_INSTRUCTIONS)
        except UcError as error:
            found[function.name] = str(error)
            continue
        value = machine.reg_read(UC_X86_REG_EAX)
        returned = machine.reg_read(UC_X86_REG_ESP) == _STACK - 60
        found[function.name] = value - (value >> 31 << 32) if returned else "did not return"
    return found
