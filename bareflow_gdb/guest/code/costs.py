"""What did the calls of each version take, as the dispatcher measured them?

Read budget: no packets are worth it: the table has 78 KB. Where reads are free: two tables and the profiler's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import many, optional
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.code.functions import Tables
from bareflow_gdb.guest.code.profiler import read_profile
from bareflow_gdb.memory.protocol import Memory

NOT_MEASURED = "the kernel does not measure what the calls of each version take"
COSTS_PACKETS = "what calls took costs packets to read: --all reads it"


@dataclass(frozen=True)
class VersionCost:
    """`struct bf_version_cost` of one version."""

    calls: int | None
    """Of this version; None = the function profiler is not there to tell those of the version that runs now."""
    every: int
    """One of so many calls is a sample."""
    cycles: tuple[int, ...]
    """The samples, TSC ticks of single calls, in the order of time."""


Costs = Mapping[int, VersionCost]
"""By version number."""


def read_costs(memory: Memory, root: Root, tables: Tables) -> Costs:
    """Raises BadData with a sentence when this kernel does not measure it, ReadError."""
    table = tables.counters.version_costs
    capacity = layouts.const("BF_MAX_VERSIONS")
    if not table:
        older = f" (debug interface {root.abi}, 1.3 does)" if not root.tells(3) else ""
        raise BadData(f"{NOT_MEASURED}{older}")
    if not is_ram(table, capacity * layouts.size("bf_version_cost")):
        raise BadData(f"the status record's pointer to the versions' costs is 0x{table:08x}, which is not RAM")
    records = many(memory, "bf_version", need(root, "version_table", "version table"), capacity, "version table")
    raws = many(memory, "bf_version_cost", table, capacity, "versions' costs")
    profile = optional(lambda: read_profile(memory, root), [])
    total = {one.id: one.calls for one in profile.functions} if profile else {}
    found = {}
    for record, raw in zip(records, raws, strict=True):
        if not record.number:
            continue
        calls: int | None = raw.calls
        if raw.running:
            known = record.function < len(tables.functions)
            of_function = total.get(tables.functions[record.function].profiler_id) if known else None
            calls = None if of_function is None else raw.calls + max(0, of_function - raw.since)
        cycles = tuple(raw.cycles[: min(raw.taken, layouts.const("BF_COST_SAMPLES"))])
        found[record.number] = VersionCost(calls, raw.every, cycles)
    return found
