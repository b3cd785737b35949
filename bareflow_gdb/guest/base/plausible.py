"""Can a kernel's tables be, although its root descriptor's checksum is right? One judgement, before they are shown.

Read budget: 2 packets, which `status` reads anyway.
"""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.memory.protocol import Memory

WRITTEN_OVER = "the kernel's tables are implausible: something wrote over them"
_HIGHEST_LEVEL = 3


def implausible(memory: Memory, root: Root) -> list[str]:
    """What cannot be, in words; nothing when all can, or cannot be read."""
    odd = []
    try:
        counters = read_counters(memory, root)
        most = layouts.const("BF_MAX_FUNCTIONS")
        if counters.function_count > most:
            odd.append(f"{counters.function_count:,} functions, the table has {most}")
        if counters.swap_count and not counters.version_count:
            odd.append(f"{counters.swap_count:,} swaps of no version")
        if counters.version_count and not counters.function_count:
            odd.append(f"{counters.version_count:,} versions of no function")
        if root.function_table and 0 < counters.function_count <= most:
            table = many(memory, "bf_function", root.function_table, counters.function_count, "function table")
            wrong = sum(function.level > _HIGHEST_LEVEL for function in table)
            if wrong:
                odd.append(f"{wrong} of {counters.function_count} functions at a level that there is not")
        for pool in many(memory, "memory_pool", root.pools, 3, "pools") if root.pools else ():
            if pool.stats.used > pool.total_size:
                odd.append(f"a pool that uses {pool.stats.used:,} of its {pool.total_size:,} bytes")
    except BareflowError:
        # Before the kernel has come so far nothing is there to be judged.
        return odd
    return odd
