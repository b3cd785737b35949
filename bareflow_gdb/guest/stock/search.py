"""Where in the memory of a stock kernel are its records, when nothing names them?

Locals of the main function lie on the stack just below 0x90000; the pools' descriptors in .bss. Each candidate
starts from a count that fits, because few words of memory do, and must then pass its whole check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.generations import GENERATIONS
from bareflow_gdb.guest.stock import signatures
from bareflow_gdb.guest.stock.signatures import Match
from bareflow_gdb.guest.stock.window import START, Window

MANAGER, JIT, POOLS, JIT_PROFILE, FAT16 = (
    "module manager",
    "adaptive JIT",
    "pool table",
    "JIT profile",
    "FAT16 state",
)
KINDS = (MANAGER, JIT, POOLS, JIT_PROFILE, FAT16)


def search(window: Window, kind: str) -> list[Match]:
    """Every record of this kind in the window, by address."""
    found = {match.address: match for match in _SEARCHES[kind](window)}
    return [found[address] for address in sorted(found)]


def _managers(window: Window) -> Iterator[Match]:
    for at in window.counts(layouts.const("MAX_MODULES")):
        for generation in GENERATIONS:
            start = at - generation.count_at
            if start < START or not window.has(start, generation.size):
                continue
            if _may_be_name(window, start) and signatures.is_code(window.word(start + 32)):
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
        if start < START or not window.has(start, size) or window.word(at + 4) > 1:
            continue
        if not 1 <= window.word(start + profiles_at) <= most:
            continue
        # profiler_id, code_v0 to code_v3, current_code
        _, *codes, current = (window.word(start + entry_at + 4 * index) for index in range(6))
        if current and current in codes:
            match = signatures.adaptive_jit(window.bytes, start)
            if match is not None:
                yield match


def _pools(window: Window) -> Iterator[Match]:
    size = layouts.size("memory_pool")
    flag_at = layouts.offset("memory_pool", "initialized")
    tried: set[int] = set()
    for at in window.counts(1):
        pool = at - flag_at
        if pool < START or not window.has(pool, size):
            continue
        if window.word(pool + 4) != window.word(pool + 12) or not signatures.is_code(window.word(pool)):
            continue
        matches = []
        for index in range(3):
            start = pool - index * size
            if start in tried or start < START or not window.has(start, 3 * size):
                continue
            tried.add(start)
            match = signatures.pools(window.bytes, start)
            if match is not None:
                matches.append(match)
        # Zeros around a single pool look like pools that did not come up: CODE is the first to come up.
        certain = [match for match in matches if match.certain]
        yield from certain[:1] or matches[:1]


def _jit_profiles(window: Window) -> Iterator[Match]:
    size, count_at = layouts.size("jit_profile"), layouts.offset("jit_profile", "num_functions")
    for at in window.counts(layouts.const("MAX_JIT_PROFILE_ENTRIES")):
        start = at - count_at
        if start >= START and window.has(start, size) and _may_be_name(window, start):
            match = signatures.jit_profile(window.bytes, start)
            if match is not None:
                yield match


def _fat16s(window: Window) -> Iterator[Match]:
    name_at = layouts.offset("fat16_boot_sector", "file_system")
    at = window.data.find(b"FAT16")
    while at >= 0:
        start = START + at - name_at
        if start >= START and start % 4 == 0 and window.has(start, layouts.size("fat16_fs")):
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
    POOLS: _pools,
    JIT_PROFILE: _jit_profiles,
    FAT16: _fat16s,
}
