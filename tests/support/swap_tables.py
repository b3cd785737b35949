"""How does a test change what a kernel keeps of its swaps, as a faulty kernel would have written it?"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from guest_copy import GuestCopy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.functions import Function, Version
from bareflow_gdb.guest.guest import Guest

EVENT = 32


class SwapTables:
    """The tables of a kernel of ours in a copy: its functions, versions, slots, blocks, events."""

    def __init__(self, copy: GuestCopy) -> None:
        self.copy = copy
        kernel = Guest.attach(copy).kernel()
        assert kernel.root is not None
        self.root: Root = kernel.root
        self.functions: dict[str, Function] = {one.name: one for one in kernel.functions()}
        self.versions: list[Version] = list(kernel.versions())
        self.blocks = {block.address: block for _, block in kernel.pool_blocks()}
        self.cached = kernel.cache().slots if self.root.cache else ()

    def version(self, name: str, level: int) -> Version:
        return next(one for one in self.versions if (one.function_name, one.level) == (name, level))

    def word(self, address: int, value: int) -> None:
        self.copy.write(address, struct.pack("<I", value & 0xFFFFFFFF), "word")

    def set(self, address: int, layout: str, /, **fields: int) -> None:
        for field, value in fields.items():
            at = address + layouts.offset(layout, field)
            self.copy.write(at, value.to_bytes(layouts.field_size(layout, field), "little"), field)

    def set_version(self, version: Version, **fields: int) -> None:
        self.set(self.record_of(version), "bf_version", **fields)

    def record_of(self, version: Version) -> int:
        size = layouts.size("bf_version")
        for index in range(layouts.const("BF_MAX_VERSIONS")):
            at = self.root.version_table + index * size
            if struct.unpack("<I", self.copy.read(at, 4, "number"))[0] == version.number:
                return at
        raise AssertionError(version.title)

    def set_function(self, name: str, **fields: int) -> None:
        index = self.functions[name].index
        self.set(self.root.function_table + index * layouts.size("bf_function"), "bf_function", **fields)

    def slot(self, name: str, value: int) -> None:
        self.word(self.functions[name].slot, value)

    def set_entry(self, name: str, **fields: int) -> None:
        """The JIT's own entry of the function."""
        at = self.functions[name].slot - layouts.offset("jit_function_entry", "current_code")
        self.set(at, "jit_function_entry", **fields)

    def set_profile(self, name: str, **fields: int) -> None:
        at = self.root.function_profiler + self.functions[name].profiler_id * layouts.size("function_profile")
        self.set(at, "function_profile", **fields)

    def set_status(self, **fields: int) -> None:
        self.set(self.root.status, "bf_status", **fields)

    def block_record(self, address: int) -> int:
        table = layouts.unpack("bf_block_table", self.copy.read(self.root.block_table, 20, "block table"))
        size = layouts.size("bf_block")
        for index in range(table.count):
            at = table.blocks + index * size
            if struct.unpack("<I", self.copy.read(at, 4, "block"))[0] == address - 16:
                return int(at)
        raise AssertionError(hex(address))

    def events(self) -> list[dict[str, Any]]:
        """Those of the main ring, as fields."""
        ring = layouts.unpack("bf_ring_header", self.copy.read(self.root.rings[0], 256, "ring"))
        data = self.copy.read(ring.records, ring.head * EVENT, "events")
        return [
            {name: getattr(raw, name) for name in ("tsc", "seq", "type", "cpu", "id", "arg")}
            for raw in layouts.unpack_array("bf_event", data)
        ]

    def rewrite(self, events: list[dict[str, Any]]) -> None:
        """As a kernel that emitted these would have numbered them."""
        ring = layouts.unpack("bf_ring_header", self.copy.read(self.root.rings[0], 256, "ring"))
        data = b"".join(layouts.pack("bf_event", **(event | {"seq": at})) for at, event in enumerate(events))
        self.copy.write(ring.records, data.ljust(ring.head * EVENT, b"\0"), "events")
        self.set(self.root.rings[0], "bf_ring_header", head=len(events))

    def find(self, events: list[dict[str, Any]], kind: str, version: Version) -> int:
        """Where the event of that kind and version is."""
        number = layouts.enum_values("bf_event_type")[f"BF_EVENT_{kind.upper()}"]
        at = {"emit": 3, "publish": 3}.get(kind, 0)
        shift = 8 if kind == "publish" else 0
        return next(
            index
            for index, event in enumerate(events)
            if event["type"] == number
            and event["id"] == version.function
            and event["arg"][at] >> shift == version.number
        )

    def emit(self, version: Version, code: bytes, *, by_host: bool = True) -> None:
        """Other code in the same place; all that is recorded of it is right. The host's has no image in the guest."""
        code = code.ljust(version.code_size, b"\x90")
        assert len(code) == version.code_size, f"{version.title} has {version.code_size} bytes, not {len(code)}"
        self.copy.write(version.code, code, "code")
        self.set_version(version, code_crc=zlib.crc32(code))
        if by_host:
            self.set_version(version, provider=layouts.const("BF_PROVIDER_HOST"))
        events = self.events()
        event = events[self.find(events, "emit", version)]
        event["arg"] = (*event["arg"][:2], zlib.crc32(code), event["arg"][3])
        self.rewrite(events)
