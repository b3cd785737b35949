"""Is there a used block of a pool that nothing leads to any more? It can never be freed."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.pools.pools import HEADER_BYTES, Block

_LOW_END = 0x90000
_LARGEST = 4 << 20
_LEAST = 2
"""One block may be held in a register, or on its way."""


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.reads_cost or subject.implausible:
        return
    blocks = [(kind, block) for kind, block in subject.blocks if block.state == "used" and block.owner_kind == "none"]
    if len(blocks) < _LEAST:
        return
    reached = _reached(subject, [block for _, block in blocks])
    lost = [(kind, block) for kind, block in blocks if block.start not in reached]
    if len(lost) < _LEAST:
        return
    kinds = sorted({kind for kind, _ in lost})
    yield Finding(
        severity=WARNING,
        what=f"{len(lost)} blocks of the {' and '.join(kinds)} pool{'s' if len(kinds) > 1 else ''} leaked",
        where=", ".join(f"0x{block.address:08x}" for _, block in lost[:4]) + (" …" if len(lost) > 4 else ""),
        evidence=f"they are in use, {sum(block.size for _, block in lost):,} bytes in all; no owner is recorded, and "
        "no word of the kernel's data, stack and pools points into them",
        consequence="the pool fills up, until an allocation fails",
        next_step="`block ADDRESS` shows what is in one; look for an allocation without a free",
    )


def _reached(subject: Subject, blocks: list[Block]) -> set[int]:
    """The starts of the blocks that some word points into."""
    starts = sorted(int(block.start) for block in blocks)
    ends = {int(block.start): int(block.end) for block in blocks}
    memory = subject.kernel.memory
    spans = [(min(kernel_base(memory) or USUAL, USUAL), _LOW_END)]
    if subject.kernel.root is not None:
        spans += [(layouts.const("BF_HEAP_BASE"), layouts.const("BF_HEAP_BASE") + layouts.const("BF_HEAP_SIZE"))]
    spans += [(int(block.address), int(block.end)) for _, block in subject.blocks if block.state == "used"]
    found: set[int] = set()
    lowest, highest = starts[0] + HEADER_BYTES, max(ends.values())
    for start, end in spans:
        if not 0 < end - start <= _LARGEST:
            continue
        try:
            data = memory.read(start, (end - start) & ~3, "search for pointers")
        except BareflowError:
            continue
        for at, (word,) in enumerate(struct.iter_unpack("<I", data)):
            if not lowest <= word < highest:
                continue
            block = starts[bisect_right(starts, word) - 1]
            inside = block <= start + 4 * at < ends[block]
            if block + HEADER_BYTES <= word < ends[block] and not inside:
                found.add(block)
    return found


CHECK = Check("leaked_blocks", "used blocks without an owner, and what points to them", (KERNEL,), _look)
