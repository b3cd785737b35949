"""What does a stock kernel's profiler say of its functions, once the adaptive JIT's own record is laid beside it?

Both keep a level and an address of each function, and both an on-switch; the adaptive JIT's are those that calls go by.
"""

from __future__ import annotations

from dataclasses import replace

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.code.profiler import Profile
from bareflow_gdb.guest.stock.jit import Entries
from bareflow_gdb.memory.protocol import Memory


def with_entries(profile: Profile, entries: Entries) -> Profile:
    """The profile with the published code of each function and its level, and whether the adaptive JIT is on."""
    by_id = {entry.profiler_id: entry for entry in entries.entries}
    functions = tuple(
        replace(function, address=by_id[function.id].current_code, level=by_id[function.id].running_level)
        if function.id in by_id
        else function
        for function in profile.functions
    )
    return replace(profile, jit_enabled=entries.enabled, functions=functions)


def differences(memory: Memory, address: int, entries: Entries) -> tuple[str, ...]:
    """Where the profiler, at the start of the adaptive JIT's record, says something else."""
    found = []
    flag = read_word(memory, address + layouts.offset("function_profiler", "jit_enabled"), "the profiler's own flag")
    if bool(flag) != entries.enabled:
        words = ("off", "on")
        found.append(
            f"what the profiler's own flag (jit_enabled, {words[bool(flag)]}) switches: the adaptive JIT is "
            f"{words[entries.enabled]}"
        )
    return tuple(found)
