"""Is there memory behind each pool: in the heap that it is taken from, apart from everything else?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.pools.pools import Pool

_WANTED = (
    re.compile(r"\[ERROR\] Heap: (?P<wanted>\d{1,10}) bytes wanted, (?P<left>\d{1,10}) left"),
    re.compile(r"\[heap\] malloc\((?P<wanted>\d{1,10})\) failed: (?P<left>\d{1,10}) of \d+ bytes left"),
)
_NO_ROOM = re.compile(r"(CODE|DATA|METADATA) pool allocation failed")


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.implausible:
        return
    pools = subject.kernel.pools().pools
    yield from _without_memory(subject, pools)
    there = sorted((pool for pool in pools if pool.base and pool.size), key=lambda pool: pool.base)
    for below, above in pairwise(there):
        if below.base + below.size > above.base:
            yield _finding(
                f"the {below.kind} pool reaches into the {above.kind} pool",
                f"0x{above.base:08x}",
                f"it is 0x{below.base:08x} and {below.size:,} bytes, that ends at 0x{below.base + below.size:08x}",
                "what is allocated in one overwrites the other",
            )
    heap, heap_bytes = layouts.const("BF_HEAP_BASE"), layouts.const("BF_HEAP_SIZE")
    for pool in there if subject.kernel.root is not None else ():
        if pool.base < heap + heap_bytes and heap < pool.base + pool.size:
            yield _finding(
                f"the {pool.kind} pool lies over the heap",
                f"0x{pool.base:08x}",
                f"it has {pool.size:,} bytes, the heap is 0x{heap:08x} and {heap_bytes:,}",
                "what is allocated in one overwrites the other",
            )


def _without_memory(subject: Subject, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Pools that never got their memory; the kernel goes on without, and every allocation fails."""
    said = (subject.log if subject.printed is not None else "") + "\n" + (subject.shown or "")
    wanted = next((match for line in _WANTED if (match := line.search(said))), None)
    for number, pool in enumerate(pools):
        if pool.base or pool.torn_down or (pool.allocations and pool.size):
            continue
        later = any(other.base for other in pools[number + 1 :])
        if wanted is None and not later and pool.kind.upper() not in _NO_ROOM.findall(said):
            # It has not come to its pools yet.
            continue
        yield _finding(
            f"the {pool.kind} pool has no memory: it is larger than what the heap has left",
            f"the {pool.kind} pool",
            (
                f"the heap was asked for {int(wanted['wanted']):,} bytes and had {int(wanted['left']):,}; "
                if wanted
                else ""
            )
            + "the pool's base is 0",
            "every allocation from it fails",
        )


def _finding(what: str, where: str, evidence: str, consequence: str) -> Finding:
    return Finding(
        what=what,
        where=where,
        evidence=evidence,
        consequence=consequence,
        next_step="`pools` shows bases and sizes; make the pool smaller, or the heap larger",
    )


CHECK = Check("pool_room", "the memory of the pools, in the heap and among each other", (KERNEL,), _look)
