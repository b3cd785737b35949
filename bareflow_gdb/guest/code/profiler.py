"""What is hot, and what did the function profiler decide?

Read budget: 1 packet for the counts, 1 to 4 for the records in use (52 bytes each), 1 to 2 for the names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import capped, many, one, strings, timed
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True, kw_only=True)
class ProfiledFunction:
    """`function_profile_t`."""

    id: int
    name: str
    module: str = ""
    address: Address = NOWHERE
    calls: int
    total_cycles: int
    min_cycles: int | None
    max_cycles: int
    mean_cycles: float | None
    level: int = 0
    needs_recompile: bool = False
    hot: bool = False


@dataclass(frozen=True)
class Profile:
    """`function_profiler_t`; the functions are ordered by total cycles, the hottest first."""

    count: int
    capacity: int
    total_calls: int
    jit_enabled: bool
    thresholds: tuple[int, int, int] | None
    """Calls at which O1, O2 and O3 are asked for; None = this profiler decides nothing."""
    functions: tuple[ProfiledFunction, ...]
    problems: tuple[str, ...]


def read_profile(memory: Memory, root: Root) -> Profile:
    """Raises BadData when the kernel has no function profiler, ReadError."""
    return read_profile_at(memory, need(root, "function_profiler", "function profiler"), root.thresholds)


def read_profile_at(memory: Memory, address: int, thresholds: tuple[int, int, int]) -> Profile:
    """The `function_profiler_t` at this address. Raises ReadError."""
    problems: list[str] = []
    tail = layouts.offset("function_profiler", "function_count")
    head = memory.read(address + tail, layouts.size("function_profiler") - tail, "function profiler")
    counts = layouts.unpack("function_profiler", bytes(tail) + head)
    capacity = layouts.const("MAX_PROFILED_FUNCTIONS")
    count = capped(counts.function_count, capacity, "profiled functions", problems)
    raws = many(memory, "function_profile", address, count, "function profiles")
    pointers = [pointer for raw in raws for pointer in (raw.name, raw.module_name)]
    names = strings(memory, pointers, layouts.const("BF_NAME_BYTES"), "function names")
    functions = _hottest_first(_function(index, raw, names) for index, raw in enumerate(raws))
    return Profile(
        count=counts.function_count,
        capacity=capacity,
        total_calls=counts.total_calls,
        jit_enabled=counts.jit_enabled != 0,
        thresholds=thresholds,
        functions=functions,
        problems=tuple(problems),
    )


def read_returned(memory: Memory, root: Root, ids: Iterable[int]) -> dict[int, bool]:
    """Has a call of the functions of these profiler ids returned? 1 packet for 38. Raises BadData, ReadError."""
    wanted = [index for index in ids if index < layouts.const("MAX_PROFILED_FUNCTIONS")]
    address = need(root, "function_profiler", "function profiler")
    raws = many(memory, "function_profile", address, max(wanted, default=-1) + 1, "function profiles")
    return {index: has_returned(raws[index]) for index in wanted}


def has_returned(raw: Any) -> bool:
    """A call is counted before it is made, its cycles are when it returns."""
    return bool(raw.call_count and raw.total_cycles)


def _hottest_first(functions: Iterable[ProfiledFunction]) -> tuple[ProfiledFunction, ...]:
    return tuple(sorted(functions, key=lambda function: (-function.total_cycles, function.id)))


def _function(index: int, raw: Any, names: dict[int, str]) -> ProfiledFunction:
    return ProfiledFunction(
        id=index,
        name=names.get(raw.name) or f"function {index}",
        module=names.get(raw.module_name, ""),
        address=Address(raw.address),
        level=raw.opt_level,
        needs_recompile=raw.needs_recompile != 0,
        hot=raw.is_hot != 0,
        **timed(raw),
    )


def read_jit_profile(memory: Memory, address: int) -> Profile:
    """`jit_profile_t`; it knows neither addresses nor levels, and nothing is decided by it. Raises ReadError."""
    raw = one(memory, "jit_profile", address, "JIT profile")
    problems: list[str] = []
    capacity = layouts.const("MAX_JIT_PROFILE_ENTRIES")
    count = capped(raw.num_functions, capacity, "profiled functions", problems)
    used = enumerate(raw.entries[:count])
    functions = _hottest_first(
        ProfiledFunction(id=i, name=clean(entry.name) or f"function {i}", **timed(entry)) for i, entry in used
    )
    return Profile(
        count=raw.num_functions,
        capacity=capacity,
        total_calls=sum(function.calls for function in functions),
        jit_enabled=False,
        thresholds=None,
        functions=functions,
        problems=tuple(problems),
    )
