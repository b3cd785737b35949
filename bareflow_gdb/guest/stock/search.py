"""Where in the memory of a stock kernel are its records, when nothing names them?

Locals of the main function lie on the stack just below 0x90000; the pools' descriptors in .bss. Each candidate
starts from a count that fits, because few words of memory do, and must then pass its whole check.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.stock import signatures
from bareflow_gdb.guest.stock.generations import GENERATIONS
from bareflow_gdb.guest.stock.signatures import Match
from bareflow_gdb.guest.stock.window import END, Window
from bareflow_gdb.memory.protocol import RAM_SIZE

MANAGER, JIT, POOLS, JIT_PROFILE, FAT16 = ("module manager", "adaptive JIT", "pool table", "JIT profile", "FAT16 state")
_MOST_BLOCKS = 64
KINDS = (MANAGER, JIT, POOLS, JIT_PROFILE, FAT16)


def search(window: Window, kind: str) -> list[Match]:
    """Every record of this kind in the window, by address."""
    found = {match.address: match for match in _SEARCHES[kind](window)}
    return [found[address] for address in sorted(found)]


def _managers(window: Window) -> Iterator[Match]:
    for at in window.counts(layouts.const("MAX_MODULES")):
        for generation in GENERATIONS:
            start = at - generation.count_at
            if start < window.start or not window.has(start, generation.size):
                continue
            # The first module's entry may be wrong; but there is one.
            if window.word(start + 32) and _may_be_name(window, start):
                match = signatures.module_manager(window.bytes, start, generation)
                if match is not None:
                    yield match


def _jits(window: Window) -> Iterator[Match]:
    count_at = layouts.offset("adaptive_jit", "function_count")
    profiles_at = layouts.offset("function_profiler", "function_count")
    entry_at = layouts.offset("adaptive_jit", "functions")
    size, most = layouts.size("adaptive_jit"), layouts.const("MAX_PROFILED_FUNCTIONS")
    for at in window.counts(layouts.const("MAX_JIT_FUNCTIONS")):
        start = at - count_at
        if start < window.start or not window.has(start, size) or window.word(at + 4) > 1:
            continue
        if not 1 <= window.word(start + profiles_at) <= most:
            continue
        # profiler_id, code_v0 to code_v3, current_code; code_buffer, code_size, code_capacity
        _, *codes, current, buffer, _, capacity = (window.word(start + entry_at + 4 * index) for index in range(9))
        if current and (current in codes or signatures.is_from_host(window.bytes, buffer + capacity)):
            match = signatures.adaptive_jit(window.bytes, start)
            if match is not None:
                yield match


def _pools(window: Window) -> Iterator[Match]:
    """The CODE pool is the first of the three: one before it means that this is not where they begin."""
    size = layouts.size("memory_pool")
    flag_at = layouts.offset("memory_pool", "initialized")
    torn_down = {match.address: match for match in _torn_down_pools(window)}
    yield from torn_down.values()
    for at in window.counts(1):
        start = at - flag_at
        if start < window.start or not window.has(start, 3 * size):
            continue
        if window.word(start + 4) != window.word(start + 12) or not signatures.is_code(window.word(start)):
            continue
        match = signatures.pools(window.bytes, start)
        if match is None or not all(_is_pool_or_nothing(window, start + index * size) for index in range(3)):
            continue
        before = any(_resembles_pool(window, start - index * size) for index in (1, 2))
        if _resembles_pool(window, start + 2 * size) or not before:
            yield match


def _torn_down_pools(window: Window) -> Iterator[Match]:
    """Their flags are zero, so nothing counts: a size that stands twice at the right distance is where to look."""
    step, size = layouts.size("memory_pool") // 4, 3 * layouts.size("memory_pool")
    words = window.words
    for index in range(len(words) - size // 4):
        total = words[index + 1]
        # Most words are zero: the first comparison decides.
        if not total or words[index] or total != words[index + 3] or words[index + step] or words[index + 10]:
            continue
        start = window.start + 4 * index
        if total % 8 == 0 and words[index + step + 1] and window.has(start, size):
            match = signatures.pools(window.bytes, start)
            if match is not None:
                yield match


def _high_pools(window: Window) -> Iterator[Match]:
    """A kernel with much .bss has them behind the window: by the magic of a block that their lists lead to."""
    if window.memory.packets or next(_pools(window), None) is not None:
        return
    behind = list(_behind(window))
    magic = layouts.const("BLOCK_MAGIC").to_bytes(4, "little")
    list_at = layouts.offset("memory_pool", "free_list")
    # The blocks of a pool may be in the window all the same.
    blocks = _places([(window.start, window.data), *behind], magic)
    for block in itertools.islice(blocks, _MOST_BLOCKS):
        for at in itertools.islice(_places(behind, block.to_bytes(4, "little")), _MOST_BLOCKS):
            # The first word of a pool in use, and the head of the list of one that is torn down.
            for start in (at, at - list_at):
                match = signatures.pools(window.bytes, start)
                if match is not None:
                    yield match
                    return


def _behind(window: Window) -> Iterator[tuple[int, bytes]]:
    """The RAM behind the window, as far as this memory has it: each piece with its address."""
    for start, end in window.memory.ranges:
        first, size = max(start, END), min(end, RAM_SIZE) - max(start, END)
        data = window.bytes(first, size) if size > 0 else None
        if data:
            yield first, data


def _places(pieces: Iterable[tuple[int, bytes]], wanted: bytes) -> Iterator[int]:
    """The addresses of an aligned word."""
    for start, data in pieces:
        at = data.find(wanted)
        while at >= 0:
            if (start + at) % 4 == 0:
                yield start + at
            at = data.find(wanted, at + 1)


def _is_pool_or_nothing(window: Window, address: int) -> bool:
    raw = window.bytes(address, layouts.size("memory_pool")) or b""
    return not any(raw) or _resembles_pool(window, address)


def _resembles_pool(window: Window, address: int) -> bool:
    """Two of the marks of `memory_pool_t`: also of one that is damaged."""
    data = window.bytes(address, layouts.size("memory_pool"))
    if data is None:
        return False
    raw = layouts.unpack("memory_pool", data)
    marks: tuple[bool, ...] = (
        signatures.is_code(raw.base) and raw.base % 4 == 0,
        0 < raw.total_size == raw.stats.total,
        raw.initialized == 1,
        signatures.is_code(raw.free_list),
    )
    return sum(marks) >= 2


def _jit_profiles(window: Window) -> Iterator[Match]:
    size, count_at = layouts.size("jit_profile"), layouts.offset("jit_profile", "num_functions")
    calls_at = layouts.offset("jit_profile_entry", "call_count")
    for at in window.counts(layouts.const("MAX_JIT_PROFILE_ENTRIES")):
        start = at - count_at
        named = start >= window.start and window.has(start, size) and _may_be_name(window, start)
        # An empty name says nothing; then the first entry has at least been called.
        if named or (start >= window.start and window.has(start, size) and window.word(start + calls_at)):
            match = signatures.jit_profile(window.bytes, start)
            if match is not None:
                yield match


def _fat16s(window: Window) -> Iterator[Match]:
    name_at = layouts.offset("fat16_boot_sector", "file_system")
    at = window.data.find(b"FAT16")
    while at >= 0:
        start = window.start + at - name_at
        if start >= window.start and start % 4 == 0 and window.has(start, layouts.size("fat16_fs")):
            match = signatures.fat16(window.bytes, start)
            if match is not None:
                yield match
        at = window.data.find(b"FAT16", at + 1)


def _may_be_name(window: Window, address: int) -> bool:
    raw = window.bytes(address, 32)
    return raw is not None and signatures.is_name(raw)


_SEARCHES: dict[str, Callable[[Window], Iterator[Match]]] = {
    MANAGER: _managers,
    JIT: _jits,
    POOLS: lambda window: itertools.chain(_pools(window), _high_pools(window)),
    JIT_PROFILE: _jit_profiles,
    FAT16: _fat16s,
}
