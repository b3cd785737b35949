"""Which code does each function of a stock kernel run, and which levels were compiled?

Read budget: 2 to 3 packets for what is in use of `adaptive_jit_t` (8,216 bytes), 1 to 2 for the names.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.absent import TORN_DOWN
from bareflow_gdb.guest.base.reading import capped, filled, strings
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.code.being_published import Publishing
from bareflow_gdb.guest.code.jit import Codes, Jit, JitFunction, level_codes
from bareflow_gdb.guest.stock.installed import Installed, read_installed
from bareflow_gdb.guest.stock.signatures import jit_bytes
from bareflow_gdb.memory.protocol import Memory

THRESHOLDS = (100, 1000, 10000)
"""Constants in the code of stock kernels: they are not in its data."""
BY_DEFAULT = "the thresholds: the default ones are shown, as they are not in this kernel's data"


@dataclass(frozen=True)
class Entry:
    """`jit_function_entry_t` with what the profiler knows of the function."""

    index: int
    name: str
    module: str
    slot: Address
    current_code: Address
    level_codes: Codes
    level: int
    """Of the code that the slot leads to."""
    compiled_level: int
    """As the record says it: a kernel stores the pointer first, and the level some instructions later."""
    active: bool
    profiler_id: int
    calls: int
    hot: bool
    needs_recompile: bool
    buffer: Address
    buffer_used: int
    buffer_bytes: int
    name_at: Address
    module_name_at: Address
    installed: tuple[Installed, ...] = ()
    """Code that the suite put there, the newest first; looked for when the function runs none of its levels' code."""

    @property
    def host_code(self) -> Installed | None:
        """The code from the host that it runs."""
        return next((one for one in self.installed if one.entry == self.current_code), None)

    @property
    def running_level(self) -> int:
        """Of the code that calls go to, also when it is the host's."""
        return self.host_code.level if self.host_code is not None else self.level

    @property
    def freed(self) -> bool:
        """Code was put into a buffer that it has no more."""
        return not self.buffer and self.buffer_used > 0

    @property
    def ahead(self) -> bool:
        """Does the code pointer lead to a higher level than the record says?"""
        return self.compiled_level < self.level

    @property
    def publishing(self) -> Publishing | None:
        """The swap that is under way. It is forgotten, and a defect, once the function was called again."""
        # Some kernels reach a threshold with the call that has its number, some with the next one.
        if not self.ahead or self.calls > THRESHOLDS[self.level - 1] + 1:
            return None
        return Publishing(
            function=self.name,
            from_level=self.compiled_level,
            to_level=self.level,
            old_code=self.level_codes[self.compiled_level],
            new_code=self.current_code,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        found = []
        if self.freed:
            found.append(f"the code buffer of {self.name} is {TORN_DOWN}: its code is told as it was left in memory")
        return tuple(found)

    def code_size(self, level: int) -> int:
        """Bytes of a level's code, up to the next one in the buffer; 0 = not known."""
        start, end = self.level_codes[level], self.buffer + self.buffer_used
        if not self.buffer <= start < end:
            return 0
        return min([code for code in self.level_codes if start < code < end], default=end) - start


@dataclass(frozen=True)
class Entries:
    """`adaptive_jit_t`."""

    enabled: bool
    count: int
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not wrong and could be taken for it."""
        return tuple(note for entry in self.entries for note in entry.notes)

    @property
    def publishing(self) -> tuple[Publishing, ...]:
        return tuple(entry.publishing for entry in self.entries if entry.publishing is not None)

    @property
    def swap_count(self) -> int:
        return sum(len(swapped_levels(entry)) for entry in self.entries)

    @property
    def version_count(self) -> int:
        return sum(code != 0 for entry in self.entries for code in entry.level_codes)


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
        _with_installed(memory, _entry(index, first + index * step, entry, profiles, names))
        for index, entry in enumerate(raw.functions[:count])
    )
    for entry in entries:
        problems += _problems(entry, known)
    return Entries(raw.enabled != 0, raw.function_count, entries, tuple(problems))


def _entry(index: int, slot: int, raw: Any, profiles: tuple[Any, ...], names: dict[int, str]) -> Entry:
    profile = profiles[raw.profiler_id] if raw.profiler_id < len(profiles) else None
    codes = level_codes(raw)
    return filled(
        Entry,
        raw,
        index=index,
        name=names.get(profile.name if profile else 0) or f"function {index}",
        module=names.get(profile.module_name if profile else 0, ""),
        slot=Address(slot),
        level_codes=codes,
        level=_level(raw, codes),
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


def _with_installed(memory: Memory, entry: Entry) -> Entry:
    if entry.current_code in entry.level_codes or not entry.buffer:
        return entry
    found = read_installed(memory, entry.buffer, entry.buffer_bytes, entry.slot)
    return dataclasses.replace(entry, installed=found)


def _level(raw: Any, codes: Codes) -> int:
    """The level of the published code; the recorded one where several levels are the same code, or it is none's."""
    recorded = int(raw.compiled_level)
    if recorded < len(codes) and codes[recorded] == raw.current_code:
        return recorded
    return max((level for level, code in enumerate(codes) if code == raw.current_code), default=recorded)


def _problems(entry: Entry, profiles: int) -> list[str]:
    """Defects that stock kernels are known for, as far as the record shows them."""
    found: list[str] = []
    if not entry.name_at:
        found.append(f"{entry.name} is counted under an id unknown to the profiler, which has {profiles} functions")
    if not entry.buffer and not entry.freed:
        found.append(
            f"{entry.name} has no code buffer, and no code was put into one: `pools` shows whether CODE had room for it"
        )
    elif entry.buffer and entry.buffer_used > entry.buffer_bytes:
        found.append(f"{entry.name} has {entry.buffer_used:,} bytes of code in a buffer of {entry.buffer_bytes:,}")
    codes, current = entry.level_codes, entry.current_code
    if current not in codes:
        if entry.host_code is None:
            found.append(f"{entry.name} runs 0x{current:08x}, which is the code of none of its levels")
    elif entry.level < entry.compiled_level or (entry.ahead and entry.publishing is None):
        found.append(
            f"{entry.name} runs its O{entry.level} code at 0x{current:08x}, its record says O{entry.compiled_level}"
        )
    return found + [
        f"O{level} and O{later} of {entry.name} share one buffer: a swap rewrites live code"
        for level, later in itertools.combinations(range(len(codes)), 2)
        if codes[level] and codes[level] == codes[later]
    ]


def to_jit(read: Entries) -> Jit:
    """The same record as of kernels with a debug interface; versions, results and control words are not kept."""
    return Jit(
        enabled=read.enabled,
        thresholds=THRESHOLDS,
        count=read.count,
        capacity=layouts.const("MAX_JIT_FUNCTIONS"),
        swap_count=read.swap_count,
        unread=0,
        version_count=read.version_count,
        counted_by="levels",
        functions=tuple(_function(entry) for entry in read.entries),
        problems=read.problems,
    )


def swapped_levels(entry: Entry) -> tuple[int, ...]:
    """The levels above O0 that were published: compiled, and not above the present one."""
    return tuple(level for level, code in enumerate(entry.level_codes) if 0 < level <= entry.level and code)


def _function(entry: Entry) -> JitFunction:
    by_level = entry.level_codes[entry.level] if entry.level < len(entry.level_codes) else NOWHERE
    host = entry.host_code
    if host is not None:
        by_level = host.entry
    return filled(
        JitFunction,
        entry,
        level=entry.running_level,
        version=host.number if host is not None else None,
        replaced=host.replaced if host is not None else NOWHERE,
        next_threshold=THRESHOLDS[entry.level] if entry.level < len(THRESHOLDS) else None,
        version_entry=by_level,
        agrees=by_level == entry.current_code,
        module=None,
        publishing=entry.publishing,
    )
