"""What is this pool block: header, owner, bytes, and are its neighbours whole?

Read budget: the block table and owners as in pools.py, headers and bytes 1 to 4 packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError, UsageError
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.pools.pools import HEADER_BYTES, Block
from bareflow_gdb.memory.protocol import Memory

SHOWN_BYTES = 128
MOST_BYTES = 4096


@dataclass(frozen=True)
class BlockHeader:
    """`block_header_t`: the 16 bytes before the payload."""

    address: Address
    magic: Word
    size: int
    next: Address
    """The next free block, 0 = none."""
    free: bool


@dataclass(frozen=True)
class BlockReport:
    """One block with its neighbours in the pool."""

    pool: str
    asked: Address
    offset: int
    """Of the address asked for, from the payload; negative in the header."""
    block: Block
    header: BlockHeader
    data: str
    """The first bytes of the payload, hexadecimal."""
    before: Block | None
    after: Block | None
    problems: tuple[str, ...]


def read_block(
    memory: Memory, blocks: Sequence[tuple[str, Block]], address: int, shown: int = SHOWN_BYTES
) -> BlockReport:
    """The block that the address is in, header or payload; `blocks` are all, with the kinds of their pools.

    Raises UsageError when it is in none or `shown` is not 0..4096, ReadError.
    """
    if not 0 <= shown <= MOST_BYTES:
        raise UsageError(f"{shown} bytes cannot be shown; 0 to {MOST_BYTES} can")
    found = sorted(blocks, key=lambda item: item[1].address)
    index = next((i for i, (_, block) in enumerate(found) if block.start <= address < block.end), None)
    if index is None:
        raise UsageError(
            f"0x{address:08x} is not in a pool block; `pools` lists them, `identify 0x{address:x}` says what it is"
        )
    pool, block = found[index]
    same = [other for kind, other in found if kind == pool]
    at = same.index(block)
    before = same[at - 1] if at else None
    after = same[at + 1] if at + 1 < len(same) else None
    header = _header(memory, block)
    problems = _problems(block, header)
    for neighbour, what in ((before, "the block before it"), (after, "the block after it")):
        problems += _neighbour(memory, neighbour, what)
    return BlockReport(
        pool=pool,
        asked=Address(address),
        offset=address - block.address,
        block=block,
        header=header,
        data=memory.read(block.address, min(shown, block.size), "block").hex(),
        before=before,
        after=after,
        problems=tuple(problems),
    )


def _header(memory: Memory, block: Block) -> BlockHeader:
    raw = layouts.unpack("block_header", memory.read(block.start, HEADER_BYTES, "block header"))
    return BlockHeader(Address(block.start), Word(raw.magic), raw.size, Address(raw.next), raw.is_free != 0)


def _problems(block: Block, header: BlockHeader) -> list[str]:
    magic = layouts.const("BLOCK_MAGIC")
    if header.magic != magic:
        return [f"its header has magic 0x{header.magic:08x}, not 0x{magic:08x}: something wrote over it"]
    found = []
    if header.size != block.size:
        found.append(f"its header says {header.size:,} bytes, the block table {block.size:,}")
    if header.free != (block.state == "free"):
        found.append(f"its header says {'free' if header.free else 'used'}, the block table {block.state}")
    return found


def _neighbour(memory: Memory, block: Block | None, what: str) -> list[str]:
    if block is None:
        return []
    try:
        return [f"{what}: {text}" for text in _problems(block, _header(memory, block))]
    except ReadError as error:
        return [f"{what}: {error}"]
