"""Are these bytes one of a stock kernel's records? Each check is strict: a wrong answer is worse than none.

A running guest may be caught between two stores of one call, so what its counters must fulfil leaves room for
one call. `deep` checks follow pointers, to names, headers and code, and say how sure the answer is; without
it only the record itself is read, to see whether it still is one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import NO_MINIMUM
from bareflow_gdb.guest.code.jit import level_codes
from bareflow_gdb.guest.pools.pools import is_torn_down
from bareflow_gdb.guest.stock.generations import Generation, ModuleRecord, decode_manager
from bareflow_gdb.guest.stock.installed import MAGIC
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START

Read = Callable[[int, int], bytes | None]
"""(address, size) → bytes, None where there are none."""

_FREED_TWICE = 64
"""So many frees too many are a defect to tell, and not something else that is taken for a pool."""
_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.:+-]*\Z")
_LOWEST_CODE = 0x1000
_HIGHEST = 0xC0000000
_MOST_CODE = 1 << 20
_MOST_CALLS = 1 << 48
_MOST_CYCLES = 1 << 62
_LARGEST_POOL = 16 << 20
_HEADER = 16
_BAD = (b"\0" * 8, b"\xff" * 8)


@dataclass(frozen=True)
class Match:
    """A record that passed its check."""

    address: int
    certain: bool
    evidence: str
    """Why it is believed, in words."""
    generation: Generation | None = None
    """Of a module manager."""


def is_name(raw: bytes) -> bool:
    """A NUL-terminated name of a module or function?"""
    text, end, _ = raw.partition(b"\0")
    return bool(end) and _NAME.match(text) is not None


def is_code(address: int) -> bool:
    """Could code be there?"""
    return _LOWEST_CODE <= address < DEVICES_START or DEVICES_END <= address < _HIGHEST


def counted(calls: int, total: int, least: int, most: int) -> bool:
    """Can these be the counts and cycles of one function?"""
    if calls == 0:
        return total == 0 and most == 0 and least in (0, NO_MINIMUM)
    if calls >= _MOST_CALLS or total >= _MOST_CYCLES or most > total:
        return False
    if calls == 1:
        # Of the first call every part may still be missing.
        return total == 0 or (least in (total, NO_MINIMUM) and most in (total, 0))
    return least <= most and least * (calls - 1) <= total


def _overflowed(calls: int, total: int, least: int, most: int) -> bool:
    """Is the sum what 32 bits leave of it? A table that is one by all else is told with its defect."""
    wrapped = total < 1 << 32 and least * (calls - 1) >= 1 << 32
    return 1 < calls < _MOST_CALLS and 0 < least <= most and most * calls < _MOST_CYCLES and wrapped


def jit_bytes(read: Read, address: int) -> bytes | None:
    """`adaptive_jit_t` with zeros for the profiles that are not in use: 2 or 3 packets instead of 5."""
    tail_at, size = layouts.offset("function_profiler", "function_count"), layouts.size("adaptive_jit")
    tail = read(address + tail_at, size - tail_at)
    if tail is None:
        return None
    used = min(int.from_bytes(tail[:4], "little"), layouts.const("MAX_PROFILED_FUNCTIONS"))
    head = read(address, used * layouts.size("function_profile")) if used else b""
    return head.ljust(tail_at, b"\0") + tail if head is not None else None


def _has_code(read: Read, address: int) -> bool:
    data = read(address, 8)
    return data is not None and data not in _BAD


def module_manager(read: Read, address: int, generation: Generation, deep: bool = True) -> Match | None:
    """`module_manager_t` of this generation."""
    data = read(address, generation.size)
    if data is None:
        return None
    record = decode_manager(generation, data)
    count = record.num_modules
    if not 1 <= count <= len(record.modules):
        return None
    used = record.modules[:count]
    if not all(_is_module(module) for module in used) or len({module.name for module in used}) < count:
        return None
    if count < len(record.modules) and _is_module(record.modules[count]):
        return None
    entries = [module.code_ptr for module in used if is_code(module.code_ptr)]
    if 2 * len(entries) < count:
        return None
    if not deep:
        return Match(address, False, "it still is one", generation)
    if not any(_has_code(read, entry) for entry in entries):
        return None
    headers = sum(_has_header(read, module) for module in used)
    adds_up = 0 < record.total_calls == sum(module.call_count for module in used)
    # Few records say too little, unless the rest of the table is as empty as at the start.
    empty = not any(data[count * generation.profile_bytes : generation.count_at])
    if not headers and not (adds_up and count > 1) and not (empty and (adds_up or count > 1)):
        return None
    evidence = [f"{count} named modules in steps of {generation.profile_bytes} bytes"]
    if headers:
        evidence.append(f"{headers} with a module header before their code")
    if adds_up:
        evidence.append("their calls add up")
    return Match(address, adds_up or 2 * headers > count, ", ".join(evidence), generation)


def _is_module(module: ModuleRecord) -> bool:
    return (
        is_name(module.name)
        and 0 < module.code_ptr < _HIGHEST
        and module.code_size <= _MOST_CODE
        and module.loaded in (0, 1)
        and counted(module.call_count, module.total_cycles, module.min_cycles, module.max_cycles)
    )


def _has_header(read: Read, module: ModuleRecord) -> bool:
    size = layouts.size("module_header")
    data = read(module.code_ptr - size, size) if module.code_ptr > size else None
    if data is None:
        return False
    header = layouts.unpack("module_header", data)
    return bool(
        header.magic == layouts.const("MODULE_MAGIC") and header.name.split(b"\0")[0] == module.name.split(b"\0")[0]
    )


def adaptive_jit(read: Read, address: int, deep: bool = True) -> Match | None:
    """`adaptive_jit_t`; one that only an earlier run left behind has lost its code buffers, and is refused."""
    data = jit_bytes(read, address)
    if data is None:
        return None
    raw = layouts.unpack("adaptive_jit", data)
    profiles = raw.profiler.functions[: raw.profiler.function_count]
    if not 1 <= raw.function_count <= len(raw.functions) or raw.enabled not in (0, 1):
        return None
    if raw.profiler.function_count > len(raw.profiler.functions) or raw.profiler.jit_enabled not in (0, 1):
        return None
    entries = raw.functions[: raw.function_count]
    if not all(_is_entry(entry, len(profiles)) for entry in entries):
        return None
    if not all(_is_profile(profile) for profile in profiles):
        return None
    if raw.function_count < len(raw.functions) and _is_entry(raw.functions[raw.function_count], len(profiles)):
        return None
    if not deep:
        return Match(address, False, "it still is one")
    if not all(_has_code(read, entry.current_code) for entry in entries):
        return None
    if not all(_own_code(entry) or is_from_host(read, _behind(entry.jit_ctx)) for entry in entries):
        return None
    names = [_text_at(read, profiles[entry.profiler_id].name) for entry in entries]
    named = sum(name is not None for name in names)
    if 2 * named < len(entries):
        return None
    buffers = [entry.jit_ctx.code_buffer for entry in entries if entry.jit_ctx.code_buffer]
    kept = sum(_is_block(read, buffer - _HEADER) for buffer in buffers)
    if buffers and not kept:
        return None
    levels = all(
        entry.current_code == level_codes(entry)[entry.compiled_level] or not _own_code(entry) for entry in entries
    )
    evidence = f"{len(entries)} functions whose current code is one of their versions, {named} with a name"
    if kept:
        evidence += f", {kept} with a code buffer in a pool"
    return Match(address, bool(levels and kept and named == len(entries)), evidence)


def _is_entry(entry: Any, profiles: int) -> bool:
    context = entry.jit_ctx
    return bool(
        entry.profiler_id < profiles
        and (_own_code(entry) or _behind(context) < entry.current_code < context.code_buffer + _MOST_CODE)
        and is_code(entry.current_code)
        and all(code == 0 or is_code(code) for code in level_codes(entry))
        and entry.compiled_level <= 3
        and entry.is_active in (0, 1)
        and context.code_size <= context.code_capacity <= _MOST_CODE
        and (context.code_buffer == 0 or is_code(context.code_buffer))
    )


def _own_code(entry: Any) -> bool:
    return bool(entry.current_code in level_codes(entry))


def _behind(context: Any) -> int:
    """Where the suite may have put code: behind what the kernel takes for its buffer's end."""
    return int(context.code_buffer + context.code_capacity)


def is_from_host(read: Read, address: int) -> bool:
    """Has the suite put code there?"""
    return read(address, len(MAGIC)) == MAGIC


def _is_profile(profile: Any) -> bool:
    return bool(
        (profile.name == 0 or is_code(profile.name))
        and (profile.module_name == 0 or is_code(profile.module_name))
        and (profile.address == 0 or is_code(profile.address))
        and profile.opt_level <= 3
        and profile.needs_recompile in (0, 1)
        and profile.is_hot in (0, 1)
        and any(
            possible(profile.call_count, profile.total_cycles, profile.min_cycles, profile.max_cycles)
            for possible in (counted, _overflowed)
        )
    )


def _text_at(read: Read, address: int) -> bytes | None:
    raw = read(address, 32) if address else None
    return raw if raw is not None and is_name(raw[:31] + b"\0") else None


def _is_block(read: Read, address: int) -> bool:
    return read(address, 4) == layouts.const("BLOCK_MAGIC").to_bytes(4, "little")


def pools(read: Read, address: int, deep: bool = True) -> Match | None:
    """`memory_pool_t[3]`; a pool may have failed to come up, and is not initialised then."""
    size = layouts.size("memory_pool")
    data = read(address, 3 * size)
    if data is None:
        return None
    raws = layouts.unpack_array("memory_pool", data)
    good = [raw for raw in raws if raw.initialized == 1]
    if any(raw.initialized not in (0, 1) for raw in raws) or not all(map(_is_pool, good)):
        return None
    if not good:
        return _torn_down_pools(read, address, raws)
    spans = sorted((raw.base, raw.base + raw.total_size) for raw in good)
    if any(end > start for (_, end), (start, _) in itertools.pairwise(spans)):
        return None
    if deep and not all(_is_block(read, raw.base) for raw in good):
        return None
    exact = all(raw.stats.used + raw.stats.free == raw.total_size for raw in good)
    return Match(
        address,
        len(good) == len(raws) or exact,
        f"{len(good)} pools that begin with the magic of a block, and whose statistics fit their sizes",
    )


def _torn_down_pools(read: Read, address: int, raws: list[Any]) -> Match | None:
    """What a shutdown leaves: sizes and statistics, and lists that still lead to blocks."""
    if not all(is_torn_down(raw) and _has_statistics(raw) for raw in raws):
        return None
    lists = [raw.free_list for raw in raws]
    if len(set(lists)) < len(lists) or not all(is_code(at) and _is_block(read, at) for at in lists):
        return None
    return Match(address, True, "3 pools that are torn down: their lists still lead to the magic of a block")


def _is_pool(raw: Any) -> bool:
    return bool(
        is_code(raw.base)
        and raw.base % 4 == 0
        and _has_statistics(raw)
        and (raw.free_list == 0 or raw.base <= raw.free_list < raw.base + raw.total_size)
    )


def _has_statistics(raw: Any) -> bool:
    stats = raw.stats
    return bool(
        _HEADER < raw.total_size <= _LARGEST_POOL
        and stats.total == raw.total_size
        and stats.used + stats.free <= raw.total_size
        and stats.num_deallocations <= stats.num_allocations + _FREED_TWICE
    )


def jit_profile(read: Read, address: int, deep: bool = True) -> Match | None:  # noqa: ARG001 - as the others
    """`jit_profile_t` of the unikernel; it has no pointers to follow."""
    data = read(address, layouts.size("jit_profile"))
    if data is None:
        return None
    raw = layouts.unpack("jit_profile", data)
    if not 1 <= raw.num_functions <= len(raw.entries):
        return None
    used = raw.entries[: raw.num_functions]
    if not all(_is_timed(entry) for entry in used) or len({entry.name for entry in used}) < len(used):
        return None
    if raw.num_functions < len(raw.entries) and _is_timed(raw.entries[raw.num_functions]):
        return None
    if len(used) <= 2 and not all(_is_unused(entry) for entry in raw.entries[raw.num_functions :]):
        return None
    preset = all(entry.min_cycles == NO_MINIMUM for entry in raw.entries[raw.num_functions :])
    if not all(is_name(entry.name) or (preset and not any(entry.name)) for entry in used):
        return None
    measured = sum(entry.call_count > 0 for entry in used)
    return Match(
        address,
        measured > 1 or (measured == 1 and used[0].call_count > 1),
        f"{len(used)} named functions in steps of {layouts.size('jit_profile_entry')} bytes, {measured} measured",
    )


def _is_unused(entry: Any) -> bool:
    """As a kernel initialises it: all zero, or with a minimum that no call has reached."""
    fields = (entry.call_count, entry.total_cycles, entry.max_cycles, entry.last_start, entry.active)
    return not any(entry.name) and not any(fields) and entry.min_cycles in (0, NO_MINIMUM)


def _is_timed(entry: Any) -> bool:
    """A name may read as empty, of a kernel that was linked for another address."""
    return bool(
        (is_name(entry.name) or not any(entry.name))
        and entry.active in (0, 1)
        and 0 < entry.last_start < _MOST_CYCLES
        # The TSC began at 0: no function ran longer than that.
        and entry.total_cycles <= entry.last_start + entry.max_cycles
        and (entry.call_count > 0 or entry.min_cycles == NO_MINIMUM)
        and counted(entry.call_count, entry.total_cycles, entry.min_cycles, entry.max_cycles)
    )


def fat16(read: Read, address: int, deep: bool = True) -> Match | None:  # noqa: ARG001 - as the others
    """`fat16_fs_t`: a boot sector and the places computed from it."""
    data = read(address, layouts.size("fat16_fs"))
    if data is None:
        return None
    raw = layouts.unpack("fat16_fs", data)
    boot = raw.boot_sector
    if not boot.file_system.startswith(b"FAT16") or boot.bytes_per_sector != 512 or not 1 <= boot.fat_count <= 2:
        return None
    root = raw.fat_start + boot.fat_count * boot.sectors_per_fat
    if raw.fat_start < boot.reserved_sectors or raw.root_dir_start != root:
        return None
    if raw.data_start != root + raw.root_dir_sectors:
        return None
    return Match(address, True, "a FAT16 boot sector, and places that follow from it")
