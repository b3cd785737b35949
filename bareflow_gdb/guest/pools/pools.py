"""What is in the JIT pools, who owns each block, how fragmented are they?

Read budget: pools 1 packet, block table 1, its records 1 per 128 blocks, owners' names 2 to 4 more. `check`
also reads every block header and walks each pool from end to end: 1 packet per 2 KB of pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError, UsageError
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import capped, filled, many, one, optional
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.base.values import Address, word
from bareflow_gdb.guest.model.places import ModelMemory
from bareflow_gdb.guest.pools.owners import Owners
from bareflow_gdb.memory.protocol import Memory

KINDS = ("code", "data", "metadata")
HEADER_BYTES = 16
_LARGEST_POOL = 16 << 20


@dataclass(frozen=True)
class Block:
    """`struct bf_block`: one block of a pool."""

    address: Address
    """Of the payload; the block header is the 16 bytes before it."""
    size: int
    """Payload bytes."""
    state: str
    owner_kind: str
    owner: int
    owner_name: str

    @property
    def start(self) -> int:
        """Address of the block header."""
        return self.address - HEADER_BYTES

    @property
    def end(self) -> int:
        """First address after the payload."""
        return self.address + self.size


@dataclass(frozen=True)
class Pool:
    """`memory_pool_t` with its blocks by address."""

    kind: str
    base: Address
    size: int
    initialized: bool
    used: int
    """Bytes, by the guest's own statistics like the next five; a block counts with its header."""
    free: int
    allocations: int
    frees: int
    peak: int
    fragmentation: int | None
    """Free bytes outside the largest free block, percent of the free bytes; None = this kernel counts it otherwise."""
    blocks: tuple[Block, ...]
    largest_free: int | None
    """Bytes, computed from the blocks like the next two; with the header where the statistics count it too.

    None = the blocks are not known."""
    free_computed: int | None
    fragmentation_computed: int | None
    torn_down: bool
    """The kernel has shut it down: sizes and statistics are those of before."""
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Pools:
    """The three pools."""

    pools: tuple[Pool, ...]
    block_count: int
    block_capacity: int | None
    """Records that the block table holds; None = the kernel keeps none, its blocks were walked."""
    blocks_lost: int
    """Blocks that found no record in the block table."""
    problems: tuple[str, ...]
    model: ModelMemory | None = None
    """What a language model has of RAM besides, None = there is none."""

    def all_problems(self) -> list[str]:
        """Those of the block table and of every pool."""
        return [*self.problems, *(f"{pool.kind} pool: {text}" for pool in self.pools for text in pool.problems)]


def read_pools(memory: Memory, root: Root, owners: Owners, kind: str | None = None, check: bool = False) -> Pools:
    """All pools, or only the one of that kind.

    Raises UsageError for a kind that does not exist, BadData when the tables cannot be right, ReadError.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no pool {kind!r}; the pools are {', '.join(KINDS)}")
    raws = many(memory, "memory_pool", need(root, "pools", "pools"), len(KINDS), "pools")
    problems: list[str] = []
    table, records = optional(lambda: _block_table(memory, root, problems), problems) or (None, None)
    pools = tuple(
        _pool(memory, index, raw, None if records is None else [r for r in records if r.pool == index], owners, check)
        for index, raw in enumerate(raws)
        if kind is None or KINDS[index] == kind
    )
    if table is not None and table.lost:
        problems.append(f"{table.lost:,} blocks found no record in the block table and are missing here")
    return Pools(
        pools=pools,
        block_count=table.count if table is not None else 0,
        block_capacity=table.capacity if table is not None else 0,
        blocks_lost=table.lost if table is not None else 0,
        problems=tuple(problems),
    )


def read_blocks(memory: Memory, root: Root, owners: Owners) -> list[tuple[str, Block]]:
    """All blocks with the kind of their pool, by address."""
    _, records = _block_table(memory, root, [])
    found = [(KINDS[raw.pool], _block(raw, owners)) for raw in records if raw.pool < len(KINDS)]
    return sorted(found, key=lambda item: item[1].address)


def _block_table(memory: Memory, root: Root, problems: list[str]) -> tuple[Any, list[Any]]:
    """Its header and its records. Raises BadData, ReadError."""
    table = one(memory, "bf_block_table", need(root, "block_table", "block table"), "block table")
    return table, _records(memory, table, problems)


def _records(memory: Memory, table: Any, problems: list[str]) -> list[Any]:
    if table.magic == 0 and table.count == 0:
        return []
    if table.magic != layouts.const("BF_BLOCKS_MAGIC"):
        raise BadData(
            f"the block table has magic 0x{table.magic:08x}, not BFLK: the pools are not up yet, "
            "or something wrote over it"
        )
    capacity = capped(table.capacity, layouts.const("BF_MAX_BLOCKS"), "block records allocated", problems)
    count = capped(table.count, capacity, "blocks", problems)
    records = many(memory, "bf_block", table.blocks, count, "block table")
    return [raw for raw in records if raw.state != layouts.const("BF_BLOCK_NONE")]


def _block(raw: Any, owners: Owners) -> Block:
    kind = word("bf_owner_kind", raw.owner_kind)
    return Block(
        address=Address(raw.address + HEADER_BYTES & 0xFFFFFFFF),
        size=raw.size,
        state=word("bf_block_state", raw.state),
        owner_kind=kind,
        owner=raw.owner,
        owner_name=owners.name(kind, raw.owner),
    )


def _pool(memory: Memory, index: int, raw: Any, records: list[Any] | None, owners: Owners, check: bool) -> Pool:
    if records is None:
        return make_pool(KINDS[index], raw, None, ())
    blocks = sorted((_block(record, owners) for record in records), key=lambda block: block.address)
    problems = _problems(raw, blocks) if raw.initialized else []
    if check and raw.initialized:
        problems += _walk(memory, raw, blocks)
    return make_pool(KINDS[index], raw, blocks, problems)


def is_torn_down(raw: Any) -> bool:
    """Was this pool in use before? It has lost its base, and kept its size and the head of its list."""
    return not raw.initialized and not raw.base and 0 < raw.total_size == raw.stats.total and raw.free_list != 0


def make_pool(
    kind: str,
    raw: Any,
    blocks: Sequence[Block] | None,
    problems: Sequence[str],
    counted_header: int = HEADER_BYTES,
    torn_down: bool = False,
) -> Pool:
    """`memory_pool` and its blocks, with what is computed from them; None = they are not known.

    The statistics count each block's header with `counted_header` bytes.
    """
    free = [block.size + counted_header for block in blocks or () if block.state == "free"]
    largest, total = max(free, default=0), sum(free)
    known = blocks is not None
    stats = raw.stats
    return filled(
        Pool,
        stats,
        kind=kind,
        base=Address(raw.base),
        size=raw.total_size,
        initialized=raw.initialized != 0,
        allocations=stats.num_allocations,
        frees=stats.num_deallocations,
        blocks=tuple(blocks or ()),
        largest_free=largest if known else None,
        free_computed=total if known else None,
        fragmentation_computed=(100 * (total - largest) // total if total else 0) if known else None,
        torn_down=torn_down,
        problems=tuple(problems),
    )


def _problems(raw: Any, blocks: list[Block]) -> list[str]:
    """What the block table and the statistics contradict, without reading more."""
    found = wrong_statistics(raw, blocks, "the block table")
    if raw.stats.fragmentation > 100:
        found.append(f"the fragmentation statistic is {raw.stats.fragmentation:,} percent: it has underflowed")
    at, base, end = raw.base, raw.base, raw.base + raw.total_size
    for block in blocks:
        if block.start < base or block.end > end:
            found.append(f"the block at 0x{block.start:08x} ({block.size} bytes) lies outside the pool")
        elif block.start < at:
            found.append(f"the block at 0x{block.start:08x} overlaps the one before it")
        at = max(at, block.end)
    return found


def wrong_statistics(raw: Any, blocks: Sequence[Block], counted_by: str, *also_right: int) -> list[str]:
    """What the pool's statistics contradict in itself and in its blocks, which `counted_by` tells.

    `also_right` are other sums of the used bytes than that of the used blocks with their headers.
    """
    found: list[str] = []
    stats = raw.stats
    if stats.used + stats.free > raw.total_size:
        found.append(f"{stats.used:,} bytes used and {stats.free:,} free do not fit its {raw.total_size:,} bytes")
    used = [block.size + HEADER_BYTES for block in blocks if block.state == "used"]
    if stats.used not in (sum(used), *also_right):
        found.append(f"the statistics count {stats.used:,} bytes used, {counted_by} {sum(used):,}")
    if stats.num_deallocations > stats.num_allocations:
        found.append(f"{stats.num_deallocations} frees of {stats.num_allocations} allocations: a block was freed twice")
    elif len(used) > stats.num_allocations - stats.num_deallocations:
        found.append(
            f"{stats.num_allocations} allocations less {stats.num_deallocations} frees are fewer than the {len(used)} "
            "used blocks: one was freed twice, or a free one is taken for used"
        )
    elif len(used) != stats.num_allocations - stats.num_deallocations:
        found.append(
            f"{stats.num_allocations} allocations less {stats.num_deallocations} frees "
            f"are not the {len(used)} used blocks"
        )
    return found


def wrong_fragmentation(statistic: int) -> list[str]:
    """A statistic below zero, as 32 bits without a sign show it."""
    if statistic < 1 << 31:
        return []
    return [f"the fragmentation statistic is {statistic:,}: it has underflowed, to {statistic - (1 << 32):,}"]


def _walk(memory: Memory, raw: Any, blocks: list[Block]) -> list[str]:
    """The pool from end to end by its block headers, and the free list, against the block table."""
    if not (0 < raw.total_size <= _LARGEST_POOL and is_ram(raw.base, raw.total_size)):
        return [f"its bounds 0x{raw.base:08x} + {raw.total_size} cannot be right: not walked"]
    try:
        data = memory.read(raw.base, raw.total_size, "pool")
    except ReadError as error:
        return [str(error)]
    magic, size = layouts.const("BLOCK_MAGIC"), layouts.size("block_header")
    recorded = {block.start: block for block in blocks}
    found: list[str] = []
    free: dict[int, int] = {}
    at = 0
    while at + size <= len(data):
        header = layouts.unpack("block_header", data[at : at + size])
        where = raw.base + at
        if header.magic != magic:
            found.append(f"the header at 0x{where:08x} has magic 0x{header.magic:08x}: overwritten; walk ends there")
            return found
        if header.is_free:
            free[where] = header.next
        block = recorded.pop(where, None)
        if block is not None and (block.size, block.state == "free") != (header.size, header.is_free != 0):
            found.append(f"block 0x{where:08x}: its header and the block table differ in size or state")
        at += size + header.size
    found += [f"the block table has 0x{start:08x}, the pool has no block there" for start in recorded]
    return found + check_free_list(raw.free_list, free)


def check_free_list(head: int, free: dict[int, int]) -> list[str]:
    """What is wrong with a free list; `free` maps each free block's address to its `next`."""
    seen: set[int] = set()
    at = head
    while at:
        if at in seen:
            return [f"the free list has a cycle at 0x{at:08x}"]
        if at not in free:
            return [f"the free list leads to 0x{at:08x}, which is not a free block"]
        seen.add(at)
        at = free[at]
    lost = len(free) - len(seen)
    return [f"{lost:,} free blocks are not in the free list"] if lost else []
