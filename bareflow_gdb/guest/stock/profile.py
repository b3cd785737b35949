"""What is hot in a stock kernel: by its function profiler, or by the application profile of the unikernel?

Read budget: that of profiler.py; for the unikernel 2 packets.
"""

from __future__ import annotations

from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import capped, one
from bareflow_gdb.guest.base.values import NO_MINIMUM, Address, clean
from bareflow_gdb.guest.code.profiler import Profile, ProfiledFunction
from bareflow_gdb.memory.protocol import Memory


def read_jit_profile(memory: Memory, address: int) -> Profile:
    """`jit_profile_t`; it knows neither addresses nor levels, and nothing is decided by it. Raises ReadError."""
    raw = one(memory, "jit_profile", address, "JIT profile")
    problems: list[str] = []
    capacity = layouts.const("MAX_JIT_PROFILE_ENTRIES")
    count = capped(raw.num_functions, capacity, "profiled functions", problems)
    functions = [_function(index, entry) for index, entry in enumerate(raw.entries[:count])]
    return Profile(
        count=raw.num_functions,
        capacity=capacity,
        total_calls=sum(function.calls for function in functions),
        jit_enabled=False,
        thresholds=None,
        functions=tuple(sorted(functions, key=lambda function: (-function.total_cycles, function.id))),
        problems=tuple(problems),
    )


def _function(index: int, raw: Any) -> ProfiledFunction:
    return ProfiledFunction(
        id=index,
        name=clean(raw.name),
        module="",
        address=Address(0),
        calls=raw.call_count,
        total_cycles=raw.total_cycles,
        min_cycles=None if raw.min_cycles == NO_MINIMUM else raw.min_cycles,
        max_cycles=raw.max_cycles,
        mean_cycles=round(raw.total_cycles / raw.call_count, 3) if raw.call_count else None,
        level=0,
        needs_recompile=False,
        hot=False,
    )
