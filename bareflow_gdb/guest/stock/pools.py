"""What is in the pools of a stock kernel, which keeps no block table? Each pool is walked by its block headers.

Read budget: 1 packet for the pools, and at most 1 per block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError, UsageError
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.pools.pools import (
    HEADER_BYTES,
    KINDS,
    Block,
    Pool,
    Pools,
    check_free_list,
    is_torn_down,
    make_pool,
    wrong_fragmentation,
    wrong_statistics,
)
from bareflow_gdb.memory.protocol import Memory

MOST_BLOCKS = 2048


@dataclass(frozen=True)
class Owner:
    """Who uses the bytes at an address."""

    kind: str
    number: int
    name: str


def read_pools(memory: Memory, address: int, owners: Mapping[int, Owner], kind: str | None = None) -> Pools:
    """`owners` are by addresses inside the blocks. Raises UsageError for an unknown kind, ReadError."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no pool {kind!r}; the pools are {', '.join(KINDS)}")
    raws = many(memory, "memory_pool", address, len(KINDS), "pools")
    pools = tuple(
        _pool(memory, name, raw, owners) for name, raw in zip(KINDS, raws, strict=True) if kind is None or name == kind
    )
    return Pools(pools, sum(len(pool.blocks) for pool in pools), block_capacity=None, blocks_lost=0, problems=())


def _pool(memory: Memory, kind: str, raw: Any, owners: Mapping[int, Owner]) -> Pool:
    if not raw.initialized:
        # Never brought up: nothing in it is a statistic. Shut down: the blocks need not be there any more.
        problems = wrong_fragmentation(raw.stats.fragmentation)
        gone = is_torn_down(raw)
        return replace(make_pool(kind, raw, (), problems, torn_down=gone), fragmentation=None)
    problems = []
    blocks = _walk(memory, raw, owners, problems)
    problems += _problems(raw, blocks)
    pool = make_pool(kind, raw, blocks, problems, _counted_header(raw, blocks))
    # Other generations count bytes.
    return pool if pool.fragmentation == pool.fragmentation_computed else replace(pool, fragmentation=None)


def _counted_header(raw: Any, blocks: Sequence[Block]) -> int:
    """The bytes of a block's header that the statistic of free bytes includes: all of them, or none."""
    bare = sum(block.size for block in blocks if block.state == "free")
    return 0 if raw.stats.free == bare else HEADER_BYTES


@dataclass(frozen=True)
class _Link:
    """What a block's header says for the lists."""

    next: int
    free: bool


def _walk(memory: Memory, raw: Any, owners: Mapping[int, Owner], problems: list[str]) -> list[Block]:
    """The blocks from end to end; a header that is none ends the walk, with a sentence."""
    blocks: list[Block] = []
    links: dict[int, _Link] = {}
    at, end = raw.base, raw.base + raw.total_size
    magic = layouts.const("BLOCK_MAGIC")
    while at + HEADER_BYTES <= end:
        if len(blocks) == MOST_BLOCKS:
            problems.append(f"it has more than {MOST_BLOCKS} blocks: only those are shown")
            return blocks
        try:
            header = layouts.unpack("block_header", memory.read(at, HEADER_BYTES, "block header"))
        except ReadError as error:
            problems.append(str(error))
            return blocks
        if header.magic != magic:
            problems.append(f"the header at 0x{at:08x} has magic 0x{header.magic:08x}: overwritten; walk ends there")
            return blocks
        if header.size > end - at - HEADER_BYTES:
            problems.append(f"the block at 0x{at:08x} ({header.size} bytes) reaches beyond the pool; walk ends there")
            return blocks
        links[at] = _Link(header.next, header.is_free != 0)
        payload = at + HEADER_BYTES
        owner = None if header.is_free else _owner(owners, payload, header.size)
        blocks.append(
            Block(
                address=Address(payload),
                size=header.size,
                state="free" if header.is_free else "used",
                owner_kind=owner.kind if owner else "none",
                owner=owner.number if owner else 0,
                owner_name=owner.name if owner else "",
            )
        )
        at = payload + header.size
    if not _lists_all(raw.free_list, links):
        problems += check_free_list(raw.free_list, {at: link.next for at, link in links.items() if link.free})
    return blocks


def _lists_all(head: int, links: Mapping[int, _Link]) -> bool:
    """Some generations keep a list of all blocks where others keep one of the free ones."""
    at = head
    listed: list[int] = []
    while at in links and len(listed) <= len(links):
        listed.append(at)
        at = links[at].next
    return at == 0 and listed == list(links)


def _owner(owners: Mapping[int, Owner], start: int, size: int) -> Owner | None:
    inside = [address for address in owners if start <= address < start + size]
    return owners[min(inside)] if inside else None


def _problems(raw: Any, blocks: list[Block]) -> list[str]:
    """What statistics and blocks contradict; stock kernels count a block with its header or without."""
    bare = sum(block.size for block in blocks if block.state == "used")
    found = wrong_statistics(raw, blocks, "its blocks", bare, bare + HEADER_BYTES * len(blocks))
    return found + wrong_fragmentation(raw.stats.fragmentation)
