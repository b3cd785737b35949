"""What of a stock kernel is saved, so that its trace answers like its core? Nothing of it need be there yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.root import is_ram
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.jit import THRESHOLDS
from bareflow_gdb.guest.stock.kernel import StockKernel
from bareflow_gdb.guest.stock.search import POOLS
from bareflow_gdb.guest.stock.versions import stock_versions
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, Range
from bareflow_gdb.tracing.snapshot_plan import MAX_POOL_BYTES, Moment

NOTHING = Moment(None, "stock kernel", THRESHOLDS, 0, (), (), (), (), (), ((0, DEVICES_START),))
"""Of a guest whose kernel is not in memory yet."""
_POOLS = 3
_HIGH_BYTES = 512 << 10
"""Of a kernel that lies above the devices: its image, which is no larger on any boot disk, and its data."""


def read_stock_moment(guest: Guest, before: Moment = NOTHING) -> Moment:
    """What is there now; names and code that were there `before` and are gone stay as they were."""
    kernel = guest.kernel()
    if not isinstance(kernel, StockKernel):
        return before
    moment = replace(before, ranges=tuple(_ranges(kernel)))
    with suppress(BareflowError):
        status = kernel.status()
        # One that has not registered anything yet may have them, one that only measures has none.
        measures = status.variant == "stock unikernel"
        moment = replace(moment, variant=status.variant, thresholds=() if measures else THRESHOLDS)
    with suppress(BareflowError):
        moment = replace(moment, modules=tuple(module.name for module in kernel.modules().modules))
    with suppress(BareflowError):
        entries = kernel.records.entries().entries
        moment = replace(moment, functions=tuple(entry.name for entry in entries))
        moment = replace(moment, versions=stock_versions(guest.memory, kernel.records))
    return moment


def _ranges(kernel: StockKernel) -> Iterator[Range]:
    """All RAM below the devices, where such kernels keep everything, and the pools."""
    yield 0, DEVICES_START
    base = kernel_base(kernel.memory) or 0
    if base >= DEVICES_END:
        yield base, base + _HIGH_BYTES
    address = kernel.records.if_there(POOLS)
    with suppress(BareflowError):
        pools = many(kernel.memory, "memory_pool", address, _POOLS, "pools") if address else ()
        for pool in pools:
            if 0 < pool.total_size <= MAX_POOL_BYTES and is_ram(pool.base, pool.total_size):
                yield pool.base, pool.base + pool.total_size
