"""What does a pool look like from end to end: used, free, and where the waste is?

One character stands for an equal share of bytes, shaded by how much of it is used; a row of letters below
names the largest owner of each share. A pool used only at its beginning is drawn as far as it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.guest.pools.pools import Block, Pool

WIDTH = 64
_SHADES = ((0.95, "█"), (0.6, "▓"), (0.3, "▒"), (0.0, "░"))
_FREE = "·"
_UNKNOWN = " "
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_OTHERS = "?"
_SMALLEST_SPAN = 1024


def pool_map(pool: Pool, width: int = WIDTH) -> str:
    """The strip between bars, the owners' row, what its letters mean; "" when there is nothing to draw."""
    if pool.size <= 0 or width <= 0 or not pool.blocks:
        return ""
    span = _span(pool)
    groups = dict.fromkeys(_group(block) for block in pool.blocks if block.state == "used")
    letters = dict(zip(groups, _LETTERS, strict=False))
    used = [0.0] * width
    known = [0.0] * width
    owners: list[dict[str, float]] = [{} for _ in range(width)]
    share = span / width
    for block in pool.blocks:
        letter = letters.get(_group(block), _OTHERS)
        for index, overlap in _shares(block, pool.base, share, width):
            known[index] += overlap
            if block.state == "used":
                used[index] += overlap
                owners[index][letter] = owners[index].get(letter, 0) + overlap
    strip = "".join(_shade(used[index] / share, known[index] > 0) for index in range(width))
    row = "".join(max(found, key=lambda key: found[key]) if found else " " for found in owners)
    lines = [f"|{strip}|"]
    if letters:
        lines += [f"|{row}|", *(f"   {text}" for text in _legend(pool, letters))]
    if span < pool.size:
        lines.append(f"   drawn: the first {span:,} of {pool.size:,} bytes; all after them is free")
    return "\n".join(lines)


def _span(pool: Pool) -> int:
    """The bytes to draw: all, or the used beginning when that is less than a quarter."""
    last = max((block.end - pool.base for block in pool.blocks if block.state == "used"), default=pool.size)
    span = max(_SMALLEST_SPAN, 1 << (last - 1).bit_length())
    return span if span * 4 <= pool.size else pool.size


def _shares(block: Block, base: int, share: float, width: int) -> list[tuple[int, float]]:
    """Number of each share that the block touches, and how many bytes of it."""
    start, end = max(block.start - base, 0), min(block.end - base, share * width)
    found = []
    for index in range(int(start / share), min(width, int(end / share) + 1)):
        overlap = min(end, (index + 1) * share) - max(start, index * share)
        if overlap > 0:
            found.append((index, overlap))
    return found


def _shade(used: float, known: bool) -> str:
    if used > 0:
        return next(shade for least, shade in _SHADES if used >= least)
    return _FREE if known else _UNKNOWN


def _legend(pool: Pool, letters: dict[str, str]) -> list[str]:
    lines = []
    for group, letter in letters.items():
        sizes = [block.size for block in pool.blocks if block.state == "used" and _group(block) == group]
        blocks = "1 block" if len(sizes) == 1 else f"{len(sizes)} blocks"
        lines.append(f"{letter} {group}: {blocks}, {sum(sizes):,} bytes")
    return lines


def _group(block: Block) -> str:
    """Blocks of one function or module belong together."""
    if block.owner_kind == "version":
        return block.owner_name.partition("@")[0]
    return block.owner_name or "no owner"
