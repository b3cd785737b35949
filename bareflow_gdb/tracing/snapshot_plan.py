"""What of a guest is saved so that every question can still be asked when it is gone?

A moment: the ranges of RAM that the decoders read, and the names that make events readable.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, ReadError, Unreachable
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.exports import GuestSymbol, read_exports
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.reading import many, one
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.boot.foreign import is_foreign
from bareflow_gdb.guest.code.functions import Version, read_functions, read_versions
from bareflow_gdb.guest.model.places import kept_ranges
from bareflow_gdb.guest.modules.modules import read_modules
from bareflow_gdb.memory.protocol import Memory, Range
from bareflow_gdb.qemu.machine import Machine

_POLL_SECONDS = 0.01
MAX_POOL_BYTES = 16 << 20


@dataclass(frozen=True)
class Moment:
    """What was read of the guest at one time."""

    root: Root | None
    """None = a stock kernel."""
    variant: str
    thresholds: tuple[int, ...]
    tsc_hz: int
    rings: tuple[int, ...]
    functions: tuple[str, ...]
    modules: tuple[str, ...]
    versions: tuple[Version, ...]
    symbols: tuple[GuestSymbol, ...]
    ranges: tuple[Range, ...]


def wait_for_kernel(
    memory: Memory, machine: Machine, seconds: float, stopped: Callable[[], bool] = lambda: False
) -> Moment | None:
    """The first moment at which the kernel has a root descriptor and its rings.

    None at once for a stock kernel, which has none. Raises Unreachable when QEMU ends first, BadData with what is
    missing when the time is over, KeyboardInterrupt when it is `stopped`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            moment = read_moment(memory)
        except BareflowError as error:
            why = str(error)
        else:
            if moment.rings:
                return moment
            why = "the kernel has no event ring"
        if not machine.alive():
            raise Unreachable(f"QEMU of machine {machine.name} ended before its kernel was up: {why}")
        if is_foreign(machine, memory):
            return None
        if stopped():
            raise KeyboardInterrupt
        if time.monotonic() >= deadline:
            raise BadData(f"machine {machine.name} shows nothing to record after {seconds:g} s: {why}")
        time.sleep(_POLL_SECONDS)


def read_moment(memory: Memory) -> Moment:
    """Reads it all; a part that is not there yet is empty. Raises BareflowError when there is no root."""
    root = find_root(memory).root
    functions: list[Any] = []
    versions: list[Version] = []
    modules: tuple[str, ...] = ()
    tsc_hz = 0
    symbols: list[GuestSymbol] = []
    problems: list[str] = []
    with suppress(ReadError):
        symbols = read_exports(memory, root)
    # A kernel that is still booting: the next moment has more.
    with suppress(BadData, ReadError):
        counters = read_counters(memory, root)
        tsc_hz = counters.tsc_hz
        functions = read_functions(memory, root, counters, problems)
        versions = read_versions(memory, root, counters, functions, problems)
        modules = tuple(module.name for module in read_modules(memory, root).modules)
    return Moment(
        root=root,
        variant=root.variant,
        thresholds=root.thresholds,
        tsc_hz=tsc_hz,
        rings=tuple(_rings(memory, root)),
        functions=tuple(function.name for function in functions),
        modules=modules,
        versions=tuple(versions),
        symbols=tuple(symbols),
        ranges=tuple(_ranges(memory, root)),
    )


def _rings(memory: Memory, root: Root) -> dict[int, Any]:
    """The headers of the rings that are set up, by address."""
    found = {}
    for address in filter(None, map(int, root.rings)):
        with suppress(ReadError):
            header = one(memory, "bf_ring_header", address, "ring header")
            if header.magic == layouts.const("BF_RING_MAGIC"):
                found[address] = header
    return found


def _ranges(memory: Memory, root: Root) -> list[Range]:
    """The RAM that decoders read: boot record, image with .bss, stack, heap, pools, rings, mailbox, a model's work."""
    const = layouts.const
    boot = const("BF_BOOT_RECORD_ADDRESS")
    found: list[Range] = [
        # The model's record lies behind it.
        (boot, const("BF_MODEL_RECORD_ADDRESS") + layouts.size("bf_model_record")),
        (root.image_base, max(root.image_end, root.image_base + root.image_bytes)),
        (const("BF_STACK_BOTTOM"), const("BF_STACK_TOP")),
        (const("BF_HEAP_BASE"), const("BF_HEAP_BASE") + const("BF_HEAP_SIZE")),
        (const("BF_MAILBOX_SLOTS"), const("BF_STAGING_BASE")),
    ]
    with suppress(ReadError):
        pools = many(memory, "memory_pool", root.pools, 3 if root.pools else 0, "pools")
        found += [(pool.base, pool.base + pool.total_size) for pool in pools if pool.total_size <= MAX_POOL_BYTES]
    found += kept_ranges(memory, root)
    for address, header in _rings(memory, root).items():
        used = min(header.head, header.capacity, const("BF_RING0_CAPACITY")) * layouts.size("bf_event")
        found.append((address, address + layouts.size("bf_ring_header")))
        found.append((header.records, header.records + used))
    return [(start, end) for start, end in found if start < end and is_ram(start, end - start)]
