"""Which module images does the kernel keep in its cache, and does it help?

Read budget: 1 packet.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import capped, filled, one
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.base.values import Address, code_name
from bareflow_gdb.memory.protocol import Memory

_STATES = ("empty", "filled", "published")


@dataclass(frozen=True)
class CacheSlot:
    """`struct bf_cache_slot`, not empty."""

    index: int
    name: str
    level: int
    state: str
    """"filled", or "published": its version runs, so it does not leave."""
    image: Address
    image_size: int
    tsc_last_used: int


@dataclass(frozen=True)
class Used:
    """An image as it was at an eviction."""

    name: str
    level: int
    tsc_last_used: int

    def __str__(self) -> str:
        """`primes@O3`."""
        return code_name(self.name, self.level)


@dataclass(frozen=True)
class Cache:
    """`struct bf_cache`."""

    capacity: int
    hits: int
    misses: int
    evictions: int
    slots: tuple[CacheSlot, ...]
    """Those in use, the least recently executed first: the first that is not published leaves next."""
    problems: tuple[str, ...]
    left_early: Used | None = None
    """What was evicted though it was not the least recently executed, or was published; None = nothing was, or the
    kernel does not tell (interface 1.1)."""
    older: Used | None = None
    """What stayed then and should have left."""

    @property
    def wrong_eviction(self) -> str:
        """In one sentence; "" = none."""
        left, stayed = self.left_early, self.older
        if left is None:
            return ""
        if stayed is None:
            return f"{left} was evicted while it was published"
        return (
            f"{left} was evicted, last used at TSC {left.tsc_last_used:,}; "
            f"{stayed} stayed, last used at TSC {stayed.tsc_last_used:,}"
        )


def read_cache(memory: Memory, root: Root) -> Cache:
    """Raises BadData when the kernel has no cache, ReadError."""
    raw = one(memory, "bf_cache", need(root, "cache", "cache"), "cache")
    problems: list[str] = []
    count = capped(raw.slot_count, layouts.const("BF_CACHE_SLOTS"), "cache slots", problems)
    slots = [
        filled(
            CacheSlot,
            slot,
            index=index,
            name=clean(slot.name),
            state=_STATES[slot.state] if slot.state < len(_STATES) else f"unknown({slot.state})",
        )
        for index, slot in enumerate(raw.slots[:count])
        if slot.state
    ]
    for slot in slots:
        if not is_ram(slot.image, max(slot.image_size, 1)):
            problems.append(f"slot {slot.index} ({slot.name}): its image 0x{slot.image:08x} is not RAM")
        if slot.state.startswith("unknown") or slot.level >= layouts.const("BF_LEVELS"):
            problems.append(f"slot {slot.index}: state {slot.state}, level {slot.level} cannot be right")
    left_early, older = (
        filled(Used, slot, name=clean(slot.name)) if root.tells(2) and slot.state else None
        for slot in (raw.left_early, raw.older)
    )
    ordered = tuple(sorted(slots, key=lambda slot: (slot.tsc_last_used, slot.index)))
    return filled(
        Cache, raw, capacity=count, slots=ordered, problems=tuple(problems), left_early=left_early, older=older
    )
