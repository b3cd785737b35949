"""Which code does each function of a stock kernel run, and which levels were compiled?

Read budget: 2 to 3 packets for what is in use of `adaptive_jit_t` (8,216 bytes), 1 to 2 for the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import capped, strings
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.jit import Jit, JitFunction
from bareflow_gdb.guest.stock.signatures import jit_bytes
from bareflow_gdb.memory.protocol import Memory

THRESHOLDS = (100, 1000, 10000)
"""Constants in the code of stock kernels: they are not in its data."""

Codes = tuple[Address, Address, Address, Address]


@dataclass(frozen=True)
class Entry:
    """`jit_function_entry_t` with what the profiler knows of the function."""

    index: int
    name: str
    module: str
    slot: Address
    current: Address
    codes: Codes
    level: int
    active: bool
    calls: int
    hot: bool
    needs_recompile: bool
    buffer: Address
    buffer_used: int
    buffer_bytes: int
    name_at: Address
    module_name_at: Address

    def code_size(self, level: int) -> int:
        """Bytes of a level's code, up to the next one in the buffer; 0 = not known."""
        start, end = self.codes[level], self.buffer + self.buffer_used
        if not self.buffer <= start < end:
            return 0
        return min([code for code in self.codes if start < code < end], default=end) - start


@dataclass(frozen=True)
class Entries:
    """`adaptive_jit_t`."""

    enabled: bool
    count: int
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


def read_entries(memory: Memory, address: int) -> Entries:
    """Raises ReadError."""
    data = jit_bytes(lambda at, size: memory.read(at, size, "adaptive JIT"), address)
    raw = layouts.unpack("adaptive_jit", data or b"")
    problems: list[str] = []
    count = capped(raw.function_count, len(raw.functions), "functions of the adaptive JIT", problems)
    known = min(raw.profiler.function_count, len(raw.profiler.functions))
    profiles = raw.profiler.functions[:known]
    pointers = [pointer for profile in profiles for pointer in (profile.name, profile.module_name)]
    names = strings(memory, pointers, layouts.const("BF_NAME_BYTES"), "function names")
    step, slot_at = layouts.size("jit_function_entry"), layouts.offset("jit_function_entry", "current_code")
    first = address + layouts.offset("adaptive_jit", "functions") + slot_at
    entries = tuple(
        _entry(index, first + index * step, entry, profiles, names) for index, entry in enumerate(raw.functions[:count])
    )
    for entry in entries:
        problems += _problems(entry, known)
    return Entries(raw.enabled != 0, raw.function_count, entries, tuple(problems))


def _entry(index: int, slot: int, raw: Any, profiles: tuple[Any, ...], names: dict[int, str]) -> Entry:
    profile = profiles[raw.profiler_id] if raw.profiler_id < len(profiles) else None
    return Entry(
        index=index,
        name=names.get(profile.name if profile else 0) or f"function {index}",
        module=names.get(profile.module_name if profile else 0, ""),
        slot=Address(slot),
        current=Address(raw.current_code),
        codes=(Address(raw.code_v0), Address(raw.code_v1), Address(raw.code_v2), Address(raw.code_v3)),
        level=raw.compiled_level,
        active=raw.is_active != 0,
        calls=profile.call_count if profile else 0,
        hot=bool(profile and profile.is_hot),
        needs_recompile=bool(profile and profile.needs_recompile),
        buffer=Address(raw.jit_ctx.code_buffer),
        buffer_used=raw.jit_ctx.code_size,
        buffer_bytes=raw.jit_ctx.code_capacity,
        name_at=Address(profile.name if profile else 0),
        module_name_at=Address(profile.module_name if profile else 0),
    )


def _problems(entry: Entry, profiles: int) -> list[str]:
    """Defects that stock kernels are known for, as far as the record shows them."""
    found: list[str] = []
    if not entry.name_at:
        found.append(f"{entry.name} is counted under an id unknown to the profiler, which has {profiles} functions")
    if not entry.buffer:
        found.append(f"{entry.name} has no code buffer: the CODE pool had no room for it")
    elif entry.buffer_used > entry.buffer_bytes:
        found.append(f"{entry.name} has {entry.buffer_used} bytes of code in a buffer of {entry.buffer_bytes}")
    if entry.level < len(entry.codes) and entry.current != entry.codes[entry.level]:
        found.append(
            f"{entry.name} runs 0x{entry.current:08x}, its O{entry.level} code is at 0x{entry.codes[entry.level]:08x}"
        )
    filled = [(level, code) for level, code in enumerate(entry.codes) if code]
    for number, (level, code) in enumerate(filled):
        for later, same in filled[number + 1 :]:
            if code == same:
                found.append(f"O{level} and O{later} of {entry.name} share one buffer: a swap rewrites live code")
    return found


def to_jit(read: Entries) -> Jit:
    """The same record as of kernels with a debug interface; versions, results and control words are not kept."""
    return Jit(
        enabled=read.enabled,
        thresholds=THRESHOLDS,
        count=read.count,
        capacity=layouts.const("MAX_JIT_FUNCTIONS"),
        swap_count=sum(len(swapped_levels(entry)) for entry in read.entries),
        unread=0,
        version_count=sum(code != 0 for entry in read.entries for code in entry.codes),
        functions=tuple(_function(entry) for entry in read.entries),
        problems=read.problems,
    )


def swapped_levels(entry: Entry) -> tuple[int, ...]:
    """The levels above O0 that were published: compiled, and not above the present one."""
    return tuple(level for level, code in enumerate(entry.codes) if level > 0 and code != 0 and level <= entry.level)


def _function(entry: Entry) -> JitFunction:
    by_level = entry.codes[entry.level] if entry.level < len(entry.codes) else Address(0)
    return JitFunction(
        index=entry.index,
        name=entry.name,
        arguments=None,
        expected=None,
        last_result=None,
        provider="",
        level=entry.level,
        version=None,
        calls=entry.calls,
        next_threshold=THRESHOLDS[entry.level] if entry.level < len(THRESHOLDS) else None,
        needs_recompile=entry.needs_recompile,
        hot=entry.hot,
        slot=entry.slot,
        current_code=entry.current,
        version_entry=by_level,
        agrees=by_level == entry.current,
        level_codes=entry.codes,
        active=entry.active,
        control="",
        control_argument=0,
        mail_state="",
        bitcode=Address(0),
        bitcode_size=0,
        module=None,
        tsc_last_swap=None,
        versions=(),
    )
