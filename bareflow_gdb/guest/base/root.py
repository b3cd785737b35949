"""What does the root descriptor say: versions, addresses of everything, the settable words?"""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.reading import capped, filled
from bareflow_gdb.guest.base.values import Address, word, words
from bareflow_gdb.memory.protocol import Memory, ram_ranges

_MAPPED = ram_ranges(3 << 30)

MOST_SYMBOLS = 1024
"""More than any kernel exports, or any function shares between its versions."""


@dataclass(frozen=True)
class Root:
    """`struct bf_root`, checked: a pointer that cannot be one is 0 here and named in `problems`."""

    address: Address
    abi: str
    """Version of the interface, "major.minor"."""
    variant: str
    build_id: str
    """GNU build id of the kernel ELF, hexadecimal."""
    cpu_count: int
    image_base: Address
    image_bytes: int
    """Bytes on disk."""
    image_end: Address
    """First address after .bss."""
    boot_record: Address
    module_manager: Address
    function_profiler: Address
    adaptive_jit: Address
    function_table: Address
    version_table: Address
    pools: Address
    block_table: Address
    rings: tuple[Address, ...]
    mailbox: Address
    exception: Address
    fat16: Address
    jit_profile: Address
    log_buffer: Address
    exports: Address
    export_count: int
    """At most MOST_SYMBOLS; a cut is named in `problems`."""
    status: Address
    cache: Address
    module_images: Address
    version_causes: Address
    asks: str
    """Who asks for a function's next level: "threshold" or "application"."""
    thresholds: tuple[int, int, int]
    """Calls at which O1, O2 and O3 are asked for."""
    hooks: tuple[str, ...]
    """Hooks that are switched on."""
    hold: int
    """Not 0: the guest waits after registration."""
    call_sample: int
    scenario: str
    scenario_stop: int
    run_calls: int
    problems: tuple[str, ...]
    unusable: tuple[str, ...] = ()
    """Fields whose pointer cannot be one."""

    def tells(self, minor: int) -> bool:
        """Has this kernel what came with that minor version of the interface?"""
        return int(self.abi.partition(".")[2]) >= minor


_NO_POINTERS = ("address", "image_base", "image_end")
_POINTERS = [f.name for f in dataclasses.fields(Root) if f.type == "Address" and f.name not in _NO_POINTERS]


@dataclass(frozen=True)
class Released:
    """The word of the root descriptor that holds a guest after registration."""

    hold: Address
    before: int
    """What it was; 0 = the guest was not held. It is 0 now."""


def release_hold(memory: Memory, root: Root) -> Released:
    """Lets a guest go on that waits after registration."""
    address = Address(root.address + layouts.offset("bf_root", "hold"))
    before = int.from_bytes(memory.read(address, 4, "hold word"), "little")
    if before != 0:
        memory.write(address, bytes(4), "hold word")
    return Released(address, before)


def is_ram(address: int, size: int = 1) -> bool:
    """Could this be RAM on some machine: not 0, not device memory?"""
    return address != 0 and any(start <= address and address + size <= end for start, end in _MAPPED)


def decode_root(address: int, data: bytes) -> Root:
    """The record from at least `size("bf_root")` bytes.

    Raises BadData with one sentence when magic, version, size or checksum are not right.
    """
    raw = layouts.unpack("bf_root", data)
    where = f"the root descriptor at 0x{address:08x}"
    if raw.magic != tuple(layouts.const(f"BF_ROOT_MAGIC{index}") for index in range(4)):
        raise BadData(
            f"there is no root descriptor at 0x{address:08x}: its magic is not there: the kernel is not loaded "
            "yet, or it is another one; `boot` shows how far the boot got"
        )
    major = layouts.const("BF_ABI_MAJOR")
    if raw.abi_major != major:
        raise BadData(
            f"{where} speaks debug interface {raw.abi_major}.{raw.abi_minor}, this suite speaks {major}.x: "
            f"use the suite that came with that kernel"
        )
    least = layouts.offset("bf_root", "thresholds")
    if not least <= raw.checked_size <= raw.size or raw.checked_size > len(data):
        raise BadData(f"{where} has impossible sizes ({raw.checked_size} of {raw.size} bytes checked)")
    at = layouts.offset("bf_root", "checksum")
    computed = zlib.crc32(data[:at] + bytes(4) + data[at + 4 : raw.checked_size])
    if computed != raw.checksum:
        raise BadData(
            f"{where} has checksum 0x{raw.checksum:08x} but its bytes give 0x{computed:08x}: "
            f"something wrote over it, or the kernel was built without its checksum"
        )
    return _checked(address, raw)


def _checked(address: int, raw: Any) -> Root:
    problems: list[str] = []
    unusable: list[str] = []

    def pointer(name: str, value: int) -> Address:
        if value == 0 or is_ram(value):
            return Address(value)
        problems.append(f"the root's pointer to {name} is 0x{value:08x}, which is not RAM")
        unusable.append(name)
        return Address(0)

    pointers = {name: pointer(name, getattr(raw, name)) for name in _POINTERS}
    return filled(
        Root,
        raw,
        address=Address(address),
        abi=f"{raw.abi_major}.{raw.abi_minor}",
        variant=word("bf_variant", raw.variant),
        build_id=raw.build_id.hex(),
        rings=tuple(pointer(f"ring {index}", value) for index, value in enumerate(raw.rings)),
        export_count=capped(raw.export_count, MOST_SYMBOLS, "exported symbols", problems),
        asks=word("bf_asks", raw.asks),
        hooks=words("bf_hook", raw.hook_mask),
        scenario=word("bf_scenario", raw.scenario),
        problems=tuple(problems),
        unusable=tuple(unusable),
        **pointers,
    )
