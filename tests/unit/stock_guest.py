"""A stock kernel made of bytes: the records of the abi headers where stock kernels keep them, and nothing else.

Three modules in the image, two functions registered (`fibonacci` at O2, `sum` at O0), pools inside the heap.
"""

from __future__ import annotations

import struct
from typing import Any

from fake_guest import Bytes

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import NO_MINIMUM
from bareflow_gdb.guest.stock.generations import NEWEST, Generation

RAM_BYTES = 2 << 20
HEAP = 0x20000
POOLS = 0x60000
POOL_BYTES = 0x8000
MODULES = 0x14000
JIT = 0x8D834
MANAGER = 0x8F84C
FS = 0x8FDA0
PROFILE = 0x8F660
HEADER = 16
NAMES = ("sum", "fibonacci", "primes")
CALLS = (1, 5, 0)
LARGE_BUFFER = 8192


def text(value: str) -> bytes:
    return value.encode().ljust(32, b"\0")


def code_of(index: int) -> int:
    """Entry of the module with this number."""
    return MODULES + index * 0x200 + layouts.size("module_header")


class StockGuest:
    """Parts of a stock kernel, each put into memory by its own method; `build` puts all."""

    def __init__(self, memory: Bytes | None = None, generation: Generation = NEWEST) -> None:
        self.memory = memory if memory is not None else Bytes(RAM_BYTES)
        self.generation = generation
        # Code after the signature: no header with a root follows it.
        self.memory.put(0x10000, struct.pack("<I", layouts.const("BF_FLUD_MAGIC")) + bytes.fromhex("fabc00000900") * 40)

    def build(self) -> Bytes:
        self.images()
        self.pools()
        self.manager()
        self.jit()
        return self.memory

    def images(self) -> None:
        for index, name in enumerate(NAMES):
            at = code_of(index) - layouts.size("module_header")
            header = layouts.pack(
                "module_header",
                magic=layouts.const("MODULE_MAGIC"),
                name=text(name),
                entry_point=code_of(index),
                code_size=100 + index,
                version=1,
            )
            self.memory.put(at, header + bytes([0x55, 0x89, 0xE5, 0x90 + index]) * 25)

    def manager(self, address: int = MANAGER, calls: tuple[int, ...] = CALLS, count: int | None = None) -> None:
        records = []
        for index, name in enumerate(NAMES):
            fields: dict[str, Any] = {
                "name": text(name),
                "code_ptr": code_of(index),
                "call_count": calls[index],
                "total_cycles": 100 * calls[index],
                "min_cycles": (NO_MINIMUM, 100, 90)[min(calls[index], 2)],
                "max_cycles": 110 if calls[index] > 1 else 100 * calls[index],
                "code_size": 100 + index,
            }
            if self.generation.profile_bytes >= 76:
                fields["loaded"] = 1
            if self.generation.profile_bytes >= 84:
                fields["sum_of_squares"] = 10_000 * calls[index] + (200 if calls[index] > 1 else 0)
            records.append(fields)
        self.memory.put(
            address,
            layouts.pack(
                self.generation.manager,
                modules=[*records, *[None] * (16 - len(records))],
                num_modules=len(records) if count is None else count,
                total_calls=sum(calls),
            ),
        )

    def pools(self) -> None:
        """CODE with two buffers and a free rest, DATA all free, METADATA with four names and a freed block."""
        self.pool(0, HEAP, [(LARGE_BUFFER, True), (LARGE_BUFFER, True)])
        self.pool(1, HEAP + POOL_BYTES, [])
        self.pool(2, HEAP + 2 * POOL_BYTES, [(16, True), (16, True), (2048, False), (16, True), (16, True)])
        for at, name in zip(self.names(), ("fibonacci", "fibonacci", "sum", "sum"), strict=True):
            self.memory.put(at, name.encode() + b"\0")

    def names(self) -> list[int]:
        """Where the four names are kept."""
        base = HEAP + 2 * POOL_BYTES + HEADER
        return [base, base + 32, base + 2128, base + 2160]

    def buffer(self, index: int) -> int:
        return HEAP + HEADER + index * (LARGE_BUFFER + HEADER)

    def pool(self, index: int, base: int, blocks: list[tuple[int, bool]], size: int = POOL_BYTES) -> None:
        magic = layouts.const("BLOCK_MAGIC")
        rest = size - sum(length + HEADER for length, _ in blocks) - HEADER
        every = [*blocks, (rest, False)]
        places, at = [], base
        for length, used in every:
            places.append((at, length, used))
            at += HEADER + length
        free = [place for place in places if not place[2]]
        for start, length, used in places:
            following = [place[0] for place in free if place[0] > start]
            self.memory.put(
                start,
                layouts.pack(
                    "block_header",
                    magic=magic,
                    size=length,
                    next=following[0] if not used and following else 0,
                    is_free=int(not used),
                ),
            )
        used_bytes = sum(length + HEADER for length, used in blocks if used)
        largest = max(length + HEADER for _, length, used in places if not used)
        self.memory.put(
            POOLS + index * layouts.size("memory_pool"),
            layouts.pack(
                "memory_pool",
                base=base,
                total_size=size,
                free_list=free[0][0],
                stats={
                    "total": size,
                    "used": used_bytes,
                    "free": size - used_bytes,
                    "num_allocations": len(blocks),
                    "num_deallocations": sum(not used for _, used in blocks),
                    "peak": used_bytes,
                    "fragmentation": 100 * (size - used_bytes - largest) // (size - used_bytes),
                },
                initialized=1,
            ),
        )

    def jit(self, address: int = JIT) -> None:
        names = self.names()
        first = self.buffer(0)
        codes = (code_of(1), first, first + 128, 0)
        self.memory.put(first, bytes([0x55, 0x89]) * 60)
        self.memory.put(first + 128, bytes([0x55, 0x8B]) * 60)
        profiles = [
            _profile(names[0], names[1], codes[2], 1500, 2, 1),
            _profile(names[2], names[3], code_of(0), 7, 0, 0),
        ]
        entries = [_entry(0, codes, 2, first, 248), _entry(1, (code_of(0), 0, 0, 0), 0, self.buffer(1), 0)]
        self.memory.put(
            address,
            layouts.pack(
                "adaptive_jit",
                profiler={
                    "functions": [*profiles, *[None] * 126],
                    "function_count": 2,
                    "total_calls": 1507,
                    "jit_enabled": 1,
                },
                functions=[*entries, *[None] * 30],
                function_count=2,
                enabled=1,
            ),
        )

    def unikernel(self, address: int = PROFILE, counts: tuple[int, ...] = (10, 100)) -> Bytes:
        """The other kind of stock kernel: pools and a JIT profile."""
        self.pools()
        entries = [
            {
                "name": text(("fibonacci", "sum_to_n", "third")[index]),
                "call_count": count,
                "total_cycles": 50 * count,
                "min_cycles": 40 if count else NO_MINIMUM,
                "max_cycles": 60 if count else 0,
                "last_start": 123456 + index,
                "active": 0,
            }
            for index, count in enumerate(counts)
        ]
        self.memory.put(
            address,
            layouts.pack("jit_profile", entries=[*entries, *[None] * (32 - len(entries))], num_functions=len(entries)),
        )
        return self.memory


def _profile(name: int, module: int, address: int, calls: int, level: int, hot: int) -> dict[str, Any]:
    return {
        "name": name,
        "module_name": module,
        "address": address,
        "call_count": calls,
        "total_cycles": 20 * calls,
        "min_cycles": 10,
        "max_cycles": 20 * min(calls, 40),
        "opt_level": level,
        "is_hot": hot,
    }


def _entry(profiler_id: int, codes: tuple[int, int, int, int], level: int, buffer: int, used: int) -> dict[str, Any]:
    return {
        "profiler_id": profiler_id,
        "code_v0": codes[0],
        "code_v1": codes[1],
        "code_v2": codes[2],
        "code_v3": codes[3],
        "current_code": codes[level],
        "jit_ctx": {"code_buffer": buffer, "code_size": used, "code_capacity": LARGE_BUFFER, "allocator": POOLS},
        "compiled_level": level,
        "is_active": 1,
    }
