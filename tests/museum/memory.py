"""What do exhibits in memory need of a guest? Places of descriptor tables, handlers, pools, modules."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from guest_copy import GuestCopy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.pools.pools import Block, Pool

KINDS = ("code", "data", "metadata")
FRAGMENTATION, FREES, ALLOCATIONS = "fragmentation", "num_deallocations", "num_allocations"


@dataclass
class Scene:
    """A copy of a guest, and where things are in it."""

    copy: GuestCopy

    @property
    def kernel(self) -> Kernel:
        return Guest.attach(self.copy).kernel()

    def write(self, address: int, data: bytes) -> None:
        self.copy.write(address, data, "defect")

    def word(self, address: int, value: int) -> None:
        self.write(address, struct.pack("<I", value & 0xFFFFFFFF))

    def read(self, address: int, size: int) -> bytes:
        return self.copy.read(address, size, "place of a defect")

    def descriptor(self, selector: int) -> int:
        return self.copy.registers.segments["gdt"].base + selector

    def gate(self, vector: int) -> int:
        return self.copy.registers.segments["idt"].base + 8 * vector

    def handler(self, vector: int) -> int:
        low, _, _, high = struct.unpack("<HHHH", self.read(self.gate(vector), 8))
        return int(low | high << 16)

    def dispatch(self) -> int:
        """Where all stubs go on: `pusha; cld` stands there."""
        stub = self.handler(32)
        code = self.read(stub, 32)
        at = code.index(b"\xe9") if b"\xe9" in code else code.index(b"\xeb")
        size = 5 if code[at] == 0xE9 else 2
        (step,) = struct.unpack("<i" if size == 5 else "<b", code[at + 1 : at + size])
        target = stub + at + size + step
        return target + self.read(target, 64).index(b"\x60\xfc")

    def pool(self, kind: str) -> tuple[int, Pool]:
        """Address of its record, and the pool."""
        pools = self.kernel.pools().pools
        return self.kernel.pool_table() + KINDS.index(kind) * layouts.size("memory_pool"), pools[KINDS.index(kind)]

    def statistic(self, kind: str, name: str) -> int:
        """Address of a word of the pool's statistics."""
        at = self.pool(kind)[0] + layouts.offset("memory_pool", "stats")
        return int(at + layouts.offset("pool_stats", name))

    def blocks(self, kind: str, state: str) -> list[Block]:
        return [block for one, block in self.kernel.pool_blocks() if one == kind and block.state == state]
