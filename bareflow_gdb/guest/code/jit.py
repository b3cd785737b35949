"""Which code does each function run now, which versions does it have, what decides the next one?

Read budget, beyond the tables of functions.py and mailbox.py: 1 packet for the JIT entries (48 bytes each)
and 1 to 2 for the profiler's records; adaptive_jit_t as a whole would be 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import capped, filled, many, one, strays
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.code.being_published import Publishing, UnderWay
from bareflow_gdb.guest.code.functions import Function, Tables, Version
from bareflow_gdb.guest.code.mailbox import Mailbox, under_way
from bareflow_gdb.guest.code.profiler import has_returned
from bareflow_gdb.guest.code.publishing import publishing
from bareflow_gdb.memory.protocol import Memory

Codes = tuple[Address, Address, Address, Address]


@dataclass(frozen=True, kw_only=True)
class JitFunction:
    """One function: its function table record, JIT entry, profiler record and mailbox slot together.

    What has a default is not kept by stock kernels; there is no last result before the first call has returned.
    """

    index: int
    name: str
    arguments: tuple[int, int] | None = None
    expected: int | None = None
    last_result: int | None = None
    provider: str = ""
    level: int
    version: int | None = None
    calls: int
    next_threshold: int | None
    """Calls at which the next level is asked for, None at O3, and where no threshold asks."""
    needs_recompile: bool
    hot: bool
    slot: Address
    """Where the published code pointer is kept."""
    current_code: Address
    """The slot's value: what the next call runs."""
    version_entry: Address
    """The entry of the published version by the version table; 0 = that version is not there."""
    agrees: bool | None
    """Slot and version table say the same; None = that version was not read."""
    level_codes: Codes
    """code_v0 to code_v3 of the stock entry."""
    active: bool
    control: str = ""
    control_argument: int = 0
    mail_state: str = ""
    bitcode: Address = NOWHERE
    bitcode_size: int = 0
    module: int | None = None
    tsc_last_swap: int | None = None
    versions: tuple[Version, ...] = ()
    publishing: Publishing | None = None
    """The swap that the guest is making of it: slot and records differ, as they must."""
    replaced: Address = NOWHERE
    """Of a stock kernel's function that runs code from the host: what that took the place of."""
    under_way: UnderWay | None = None
    """The swap that the guest has begun and not ended, by its own word."""

    @property
    def is_being_recorded(self) -> bool:
        """Is the guest between a publishing store and the last record of it? Then its records differ, as they must."""
        return self.publishing is not None or (self.under_way is not None and self.under_way.phase in _RECORDED)


_RECORDED = ("about to publish", "published")


@dataclass(frozen=True)
class Jit:
    """`adaptive_jit_t` with everything that belongs to its functions."""

    enabled: bool
    thresholds: tuple[int, int, int]
    count: int
    capacity: int
    swap_count: int
    version_count: int
    unread: int
    """Versions that were left out, because over a gdbstub they cost packets."""
    functions: tuple[JitFunction, ...]
    problems: tuple[str, ...]
    asks: str = "threshold"
    """Who asks for levels: "threshold" or "application"."""
    counted_by: str = "guest"
    """Of what `swap_count` is: as in swaps.py."""

    @property
    def under_way(self) -> tuple[UnderWay, ...]:
        """The swaps that are begun and not ended, by the guest's own word."""
        return tuple(function.under_way for function in self.functions if function.under_way is not None)

    @property
    def publishing(self) -> tuple[Publishing, ...]:
        """The swaps that are under way; one, where one processor makes them."""
        return tuple(function.publishing for function in self.functions if function.publishing is not None)


def read_jit(memory: Memory, root: Root, tables: Tables, mailbox: Mailbox | None, problems: list[str]) -> Jit:
    """Raises BadData when the kernel has no adaptive JIT, ReadError."""
    functions = tables.functions
    address = need(root, "adaptive_jit", "adaptive JIT")
    entries_at = layouts.offset("adaptive_jit", "functions")
    size = layouts.size("adaptive_jit") - entries_at
    data = memory.read(address + entries_at, size, "adaptive JIT")
    raw = layouts.unpack("adaptive_jit", bytes(entries_at) + data)
    capacity = layouts.const("MAX_JIT_FUNCTIONS")
    count = capped(raw.function_count, capacity, "functions of the adaptive JIT", problems)
    profiler = need(root, "function_profiler", "function profiler")
    profiles = many(memory, "function_profile", profiler, _profiles_needed(functions, count), "function profiles")
    step = layouts.size("jit_function_entry")
    first = address + entries_at + layouts.offset("jit_function_entry", "current_code")
    by_slot = {first + index * step: entry for index, entry in enumerate(raw.functions[:count])}
    outside = [f for f in functions if f.slot and f.slot not in by_slot]
    elsewhere = iter(strays(memory, [(f.slot, 4, f"slot of {f.name}") for f in outside]))
    decoded = []
    for function in functions:
        entry = by_slot.get(function.slot)
        if entry is not None:
            current = entry.current_code
        else:
            stored = next(elsewhere) if function.slot else None
            current = int.from_bytes(stored or b"", "little")
            problems.append(
                f"the slot of {function.name} is at 0x{function.slot:08x}, outside the adaptive JIT's entries"
                + ("" if stored is not None else ", and cannot be read")
            )
        decoded.append(_function(root, function, entry, current, tables, profiles, mailbox, problems))
    return Jit(
        enabled=raw.enabled != 0,
        thresholds=root.thresholds,
        asks=root.asks,
        count=raw.function_count,
        capacity=capacity,
        swap_count=tables.counters.swap_count,
        version_count=tables.counters.version_count,
        unread=tables.unread,
        functions=tuple(decoded),
        problems=tuple(problems),
    )


def _next_threshold(root: Root, level: int) -> int | None:
    return root.thresholds[level] if root.asks == "threshold" and level < len(root.thresholds) else None


def _profiles_needed(functions: list[Function], count: int) -> int:
    capacity = layouts.const("MAX_PROFILED_FUNCTIONS")
    ids = [function.profiler_id for function in functions if function.profiler_id < capacity]
    return max([*ids, count - 1], default=-1) + 1


def _function(
    root: Root,
    function: Function,
    entry: Any,
    current: int,
    tables: Tables,
    profiles: list[Any],
    mailbox: Mailbox | None,
    problems: list[str],
) -> JitFunction:
    own = tuple(version for version in tables.versions if version.function == function.index)
    published = next((version for version in own if version.number == function.version), None)
    agrees = published.entry == current if published is not None else False if tables.whole else None
    profile = profiles[function.profiler_id] if function.profiler_id < len(profiles) else None
    mail = mailbox.slots[function.index] if mailbox and function.index < len(mailbox.slots) else None
    codes = level_codes(entry) if entry else (NOWHERE, NOWHERE, NOWHERE, NOWHERE)
    of_level = codes[function.level] if function.level < len(codes) else NOWHERE
    begun = publishing(function, current, of_level, own, profile.call_count if profile else 0, mail)
    if published is not None and not agrees and begun is None:
        problems.append(
            f"{function.name} runs 0x{current:08x}, its version {published.number} begins at 0x{published.entry:08x}"
        )
    elif published is None and function.version and tables.whole:
        problems.append(f"{function.name} runs version {function.version}, which is not in the version table")
    if profile is None:
        problems.append(f"{function.name} is counted under id 0x{function.profiler_id:x}, unknown to the profiler")
    none_yet = profile is not None and not has_returned(profile) and not function.last_result
    return filled(
        JitFunction,
        function,
        calls=profile.call_count if profile else 0,
        last_result=None if none_yet else function.last_result,
        next_threshold=_next_threshold(root, function.level),
        needs_recompile=bool(profile and profile.needs_recompile),
        hot=bool(profile and profile.is_hot),
        current_code=Address(current),
        version_entry=published.entry if published else NOWHERE,
        agrees=agrees,
        level_codes=codes,
        active=bool(entry and entry.is_active),
        control=mail.control if mail else "",
        control_argument=mail.control_argument if mail else 0,
        mail_state=mail.state if mail else "",
        versions=own,
        publishing=begun,
        under_way=under_way(mail, function) if mail else None,
    )


@dataclass(frozen=True)
class Recorded:
    """What the JIT's entry and the profiler's record say of the code that a function runs."""

    compiled_level: int
    """0 before the first swap."""
    buffer: Address
    size: int
    profiled_level: int
    profiled_address: Address


def recorded(memory: Memory, root: Root, functions: Sequence[Function]) -> list[Recorded | None]:
    """For each function; None where its slot is not an entry's, or nobody counts it. Raises BadData, ReadError."""
    raw = one(memory, "adaptive_jit", need(root, "adaptive_jit", "adaptive JIT"), "adaptive JIT")
    profiler = need(root, "function_profiler", "function profiler")
    profiles = many(memory, "function_profile", profiler, _profiles_needed(list(functions), 0), "function profiles")
    first = root.adaptive_jit + layouts.offset("adaptive_jit", "functions")
    first += layouts.offset("jit_function_entry", "current_code")
    step = layouts.size("jit_function_entry")
    found: list[Recorded | None] = []
    for function in functions:
        index, rest = divmod(function.slot - first, step)
        if rest or not 0 <= index < len(raw.functions) or function.profiler_id >= len(profiles):
            found.append(None)
            continue
        entry, profile = raw.functions[index], profiles[function.profiler_id]
        found.append(
            Recorded(
                entry.compiled_level,
                entry.jit_ctx.code_buffer,
                entry.jit_ctx.code_size,
                profile.opt_level,
                profile.address,
            )
        )
    return found


def level_codes(entry: Any) -> Codes:
    """Where the code of O0 to O3 is, by a `jit_function_entry`."""
    return (entry.code_v0, entry.code_v1, entry.code_v2, entry.code_v3)
