"""A guest made of bytes: every table of the contract, small, right, and open to damage by a test.

Two functions (`alpha` at O1 after one swap, `beta` at O0), two modules, three versions, their pool blocks, a
ring with the events of the swap. Tests change fields before `build`, or bytes of the memory after it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.memory.protocol import CheckedMemory, ram_ranges

RAM_BYTES = 8 << 20
ROOT = 0x20000
STATUS = 0x20200
FUNCTIONS = 0x21000
VERSIONS = 0x22000
JIT = 0x28000
MANAGER = 0x2B000
IMAGES = 0x2C000
CAUSES = 0x2C400
POOLS = 0x2C800
EXCEPTION = 0x2CA00
LOG = 0x2CC00
LOG_TEXT = 0x2D000
EXPORTS = 0x2E000
NAMES = 0x2F000
MODULE_FILES = 0x30000
BITCODE = 0x34000
BLOCKS = 0x2C0010
CODE, DATA, METADATA = 0x200000, 0x240000, 0x2C0000
POOL_SIZES = {CODE: 0x40000, DATA: 0x80000, METADATA: 0x20000}
HZ = 1_000_000_000

Fields = dict[str, Any]


class Bytes(CheckedMemory):
    """RAM in a bytearray. `cost` is the number of gdbstub packets that a read counts."""

    name = "bytes"

    def __init__(self, size: int = RAM_BYTES, live: bool = False, cost: int = 0) -> None:
        super().__init__(ram_ranges(size))
        self.ram = bytearray(size)
        self.live = live
        self.cost = cost

    def put(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def set(self, address: int, layout: str, field: str, value: int) -> None:
        """Overwrites one integer field."""
        at = address + layouts.offset(layout, field)
        self.put(at, value.to_bytes(layouts.field_size(layout, field), "little"))

    def _fetch(self, address: int, size: int) -> bytes:
        self.packets += self.cost
        return bytes(self.ram[address : address + size])

    def _store(self, address: int, data: bytes) -> None:
        self.put(address, data)


def name(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")


class FakeGuest:
    """The tables as dictionaries; `build` writes them down."""

    def __init__(self) -> None:
        self.root: Fields = {
            "magic": tuple(layouts.const(f"BF_ROOT_MAGIC{i}") for i in range(4)),
            "abi_major": layouts.const("BF_ABI_MAJOR"),
            "abi_minor": layouts.const("BF_ABI_MINOR"),
            "size": layouts.size("bf_root"),
            "checked_size": layouts.offset("bf_root", "thresholds"),
            "image_base": 0x10000,
            "image_bytes": 0x28000,
            "image_end": 0x40000,
            "build_id": bytes(range(20)),
            "cpu_count": 1,
            "boot_record": layouts.const("BF_BOOT_RECORD_ADDRESS"),
            "module_manager": MANAGER,
            "function_profiler": JIT,
            "adaptive_jit": JIT,
            "function_table": FUNCTIONS,
            "version_table": VERSIONS,
            "pools": POOLS,
            "block_table": BLOCKS,
            "rings": (layouts.const("BF_RING0_HEADER"), layouts.const("BF_RING1_HEADER"), 0, 0),
            "mailbox": layouts.const("BF_MAILBOX_HEADER"),
            "exception": EXCEPTION,
            "log_buffer": LOG,
            "exports": EXPORTS,
            "export_count": 2,
            "status": STATUS,
            "module_images": IMAGES,
            "version_causes": CAUSES,
            "thresholds": (100, 1000, 10000),
        }
        self.checksum: int | None = None
        self.boot: Fields = {
            "magic": layouts.const("BF_BOOT_MAGIC"),
            "size": layouts.size("bf_boot_record"),
            "stage": layouts.const("BF_STAGE_IDLE"),
            "drive": 0x80,
            "disk_method": 1,
            "a20_method": 1,
            "sectors_needed": 320,
            "sectors_asked": 320,
            "sectors_read": 320,
            "load_address": 0x10000,
            "memory_kib": 64384,
            "signature": layouts.const("BF_FLUD_MAGIC"),
            "crc_expected": 0x1234,
            "crc_computed": 0x1234,
            "stage_tsc": (0, *(1_000_000 * stage for stage in range(1, 15)), 0),
        }
        self.status: Fields = {"tsc_hz": HZ, "function_count": 2, "version_count": 3, "swap_count": 1}
        self.functions: list[Fields] = [_function("alpha", 0, 3, 1), _function("beta", 1, 2, 0)]
        self.versions: list[Fields] = [
            _version(1, 0, 0, CODE + 0x10, state=4, reason=1, published=500, first=600, retired=20_000),
            _version(2, 1, 0, CODE + 0x110, state=3, reason=1, published=700, first=800),
            _version(3, 0, 1, CODE + 0x210, state=3, reason=2, published=20_000, first=20_500),
        ]
        self.causes: list[Fields] = [{}, {}, {"calls": 100, "tsc": 19_000}]
        self.profiles: list[Fields] = [_profile(0, 150, 3000, 10, CODE + 0x210, 1), _profile(1, 5, 50, 9, 0, 0)]
        self.entries: list[Fields] = [_entry(0, CODE + 0x210, 1), _entry(1, CODE + 0x110, 0)]
        self.modules: list[Fields] = [_module("alpha", CODE + 0x310), _module("beta", CODE + 0x410)]
        self.module_files = [module_file("alpha"), module_file("beta")]
        self.blocks: list[Fields] = [
            _block(CODE, 0, 0xF0, 1, 1),
            _block(CODE, 0x100, 0xF0, 1, 2),
            _block(CODE, 0x200, 0xF0, 1, 3),
            _block(CODE, 0x300, 0xF0, 2, 0),
            _block(CODE, 0x400, 0xF0, 2, 1),
            _block(CODE, 0x500, POOL_SIZES[CODE] - 0x510, 0, 0),
            _block(DATA, 0, POOL_SIZES[DATA] - 0x10, 0, 0),
            _block(METADATA, 0, 0x8020, 3, 0),
            _block(METADATA, 0x8030, POOL_SIZES[METADATA] - 0x8040, 0, 0),
        ]
        self.events: list[Fields] = [
            {"tsc": 19_000, "type": 10, "id": 0, "arg": (100, 0, 1, 0)},
            {"tsc": 20_010, "type": 15, "id": 0, "arg": (JIT, CODE + 0x10, CODE + 0x210, 3 << 8 | 2 << 3 | 1)},
            {"tsc": 20_500, "type": 16, "id": 0, "arg": (3, CODE + 0x210, 101, 0)},
        ]
        self.ring: Fields = {"capacity": 256, "mode": 1, "type_mask": layouts.const("BF_EVENT_DEFAULT_MASK")}
        self.exception: Fields = {"magic": layouts.const("BF_EXCEPTION_MAGIC"), "count": 0}
        self.log = b"[serial] init ok\r\nhello\n"

    def build(self, memory: Bytes | None = None) -> Bytes:
        memory = memory or Bytes()
        self._kernel(memory)
        self._jit(memory)
        self._modules(memory)
        self._pools(memory)
        self._devices(memory)
        return memory

    def _kernel(self, memory: Bytes) -> None:
        root = bytearray(layouts.pack("bf_root", **self.root))
        checked = self.root["checked_size"] if 0 <= self.root["checked_size"] <= len(root) else 0
        checksum = zlib.crc32(root[:checked]) if self.checksum is None else self.checksum
        at = layouts.offset("bf_root", "checksum")
        root[at : at + 4] = checksum.to_bytes(4, "little")
        memory.put(ROOT, bytes(root))
        header = {"magic": layouts.const("BF_FLUD_MAGIC"), "root": ROOT, "image_bytes": 0x28000}
        memory.put(layouts.const("BF_IMAGE_BASE"), layouts.pack("bf_image_header", **header))
        memory.put(layouts.const("BF_BOOT_RECORD_ADDRESS"), layouts.pack("bf_boot_record", **self.boot))
        memory.put(STATUS, layouts.pack("bf_status", **self.status))
        symbols = [
            {"name": name("kmain"), "address": 0x11000, "size": 0x80},
            {"name": name("memcpy"), "address": 0x12000},
        ]
        memory.put(EXPORTS, table("bf_symbol", symbols))
        memory.put(EXCEPTION, layouts.pack("bf_exception", **self.exception))
        written = {"magic": layouts.const("BF_LOG_MAGIC"), "capacity": 1024, "written": len(self.log), "text": LOG_TEXT}
        memory.put(LOG, layouts.pack("bf_log", **written))
        memory.put(LOG_TEXT, self.log[-1024:])

    def _jit(self, memory: Bytes) -> None:
        memory.put(FUNCTIONS, table("bf_function", self.functions))
        memory.put(VERSIONS, table("bf_version", self.versions))
        memory.put(CAUSES, table("bf_version_cause", self.causes))
        memory.put(JIT, table("function_profile", self.profiles))
        counts = struct.pack("<IQI", len(self.profiles), 155, 1)
        memory.put(JIT + layouts.offset("function_profiler", "function_count"), counts)
        memory.put(JIT + layouts.offset("adaptive_jit", "functions"), table("jit_function_entry", self.entries))
        memory.put(JIT + layouts.offset("adaptive_jit", "function_count"), struct.pack("<II", len(self.entries), 1))
        memory.put(NAMES, name("alpha") + name("beta"))
        for index, module in enumerate(("alpha", "beta")):
            memory.put(BITCODE + index * 0x400, bitcode(module))

    def _modules(self, memory: Bytes) -> None:
        manager = {"modules": self.modules, "num_modules": len(self.modules), "total_calls": 3}
        padded = self.modules + [{}] * (16 - len(self.modules))
        memory.put(MANAGER, layouts.pack("module_manager", **(manager | {"modules": padded})))
        images = []
        for index, file in enumerate(self.module_files):
            address = MODULE_FILES + index * 0x400
            memory.put(address, file)
            images.append({"image": address, "image_size": len(file), "source": 15})
        memory.put(IMAGES, table("bf_module_image", images))

    def _pools(self, memory: Bytes) -> None:
        pools = []
        for index, (base, size) in enumerate(POOL_SIZES.items()):
            blocks = [b for b in self.blocks if b["pool"] == index]
            free = [b for b in blocks if b["state"] == 1]
            unused = sum(b["size"] + 16 for b in free)
            used = len(blocks) - len(free)
            stats = {"total": size, "used": max(0, size - unused), "free": unused, "num_allocations": used}
            pools.append(
                {
                    "base": base,
                    "total_size": size,
                    "free_list": free[0]["address"] if free else 0,
                    "stats": stats,
                    "initialized": 1,
                }
            )
            for block in blocks:
                header = {"magic": layouts.const("BLOCK_MAGIC"), "size": block["size"], "is_free": block["state"] == 1}
                memory.put(block["address"], layouts.pack("block_header", **header))
        memory.put(POOLS, table("memory_pool", pools))
        header = {
            "magic": layouts.const("BF_BLOCKS_MAGIC"),
            "capacity": 2048,
            "count": len(self.blocks),
            "blocks": BLOCKS + layouts.size("bf_block_table"),
        }
        memory.put(BLOCKS, layouts.pack("bf_block_table", **header) + table("bf_block", self.blocks))

    def _devices(self, memory: Bytes) -> None:
        const = layouts.const
        for index in (0, 1):
            records, events = const(f"BF_RING{index}_RECORDS"), self.events if index == 0 else []
            header = {
                "magic": const("BF_RING_MAGIC"),
                "version": 1,
                "record_size": 32,
                "records": records,
                "ring": index,
                "head": len(events),
            }
            memory.put(const(f"BF_RING{index}_HEADER"), layouts.pack("bf_ring_header", **(self.ring | header)))
            for seq, event in enumerate(events):
                at = records + seq % self.ring["capacity"] * 32
                memory.put(at, layouts.pack("bf_event", **({"seq": seq} | event)))
        box = {
            "magic": const("BF_MAILBOX_MAGIC"),
            "slot_count": 32,
            "slot_size": 128,
            "slots": const("BF_MAILBOX_SLOTS"),
            "staging": const("BF_STAGING_BASE"),
            "staging_size": const("BF_STAGING_SIZE"),
        }
        memory.put(const("BF_MAILBOX_HEADER"), layouts.pack("bf_mailbox", **box))


def table(layout: str, records: list[Fields]) -> bytes:
    return b"".join(layouts.pack(layout, **record) for record in records)


def module_file(module: str, **changes: Any) -> bytes:
    """A version-2 image with 64 bytes of code and its SHA-256."""
    header: Mapping[str, Any] = {
        "magic": layouts.const("MODULE_MAGIC"),
        "name": name(module),
        "entry_point": 0x30,
        "code_size": 64,
        "version": 2,
    } | changes
    body = layouts.pack("module_header", **header) + b"\xc3" * 64 + struct.pack("<II", 0, 0)
    return body + hashlib.sha256(body).digest()


def bitcode(module: str, header_size: int = 128) -> bytes:
    """A wrapper of one of the sizes in the field, with 64 bytes of payload."""
    payload = b"BC\xc0\xde" + bytes(60)
    header = {
        "magic": layouts.const("BITCODE_MAGIC"),
        "module_name": name(module),
        "entry_name": f"{module}_main".encode().ljust(64, b"\0"),
        "bitcode_size": len(payload),
        "version": 1,
    }
    return layouts.pack("bitcode_header", **header)[:header_size] + payload


def _function(label: str, index: int, version: int, level: int) -> Fields:
    entry = layouts.offset("adaptive_jit", "functions") + index * layouts.size("jit_function_entry")
    return {
        "name": name(label),
        "arguments": (20, 0),
        "expected": 6765,
        "last_result": 6765,
        "provider": 1,
        "slot": JIT + entry + layouts.offset("jit_function_entry", "current_code"),
        "bitcode": BITCODE + index * 0x400,
        "bitcode_size": 192,
        "profiler_id": index,
        "module": index,
        "version": version,
        "level": level,
    }


def _version(number: int, function: int, level: int, code: int, **more: int) -> Fields:
    return {
        "number": number,
        "function": function,
        "level": level,
        "state": more["state"],
        "code": code,
        "code_size": 0x80,
        "entry": code,
        "tsc_published": more["published"],
        "tsc_first": more["first"],
        "tsc_retired": more.get("retired", 0),
        "reason": more["reason"],
        "provider": 1,
    }


def _profile(index: int, calls: int, total: int, least: int, code: int, level: int) -> Fields:
    return {
        "name": NAMES + 32 * index,
        "module_name": NAMES + 32 * index,
        "address": code,
        "call_count": calls,
        "total_cycles": total,
        "min_cycles": least,
        "max_cycles": 2 * least,
        "opt_level": level,
        "is_hot": level > 0,
    }


def _entry(index: int, code: int, level: int) -> Fields:
    return {"profiler_id": index, f"code_v{level}": code, "current_code": code, "compiled_level": level, "is_active": 1}


def _module(label: str, code: int) -> Fields:
    return {
        "name": name(label),
        "code_ptr": code,
        "call_count": 2,
        "total_cycles": 30,
        "min_cycles": 10,
        "max_cycles": 20,
        "sum_of_squares": 500,
        "code_size": 64,
        "loaded": 1,
    }


def _block(pool: int, at: int, size: int, owner_kind: int, owner: int) -> Fields:
    return {
        "address": pool + at,
        "size": size,
        "owner": owner,
        "pool": list(POOL_SIZES).index(pool),
        "state": 2 if owner_kind else 1,
        "owner_kind": owner_kind,
    }
