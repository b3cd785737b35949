"""What does a pool look like from end to end: used, free, and where the waste is?

One character stands for an equal share of the pool's bytes. Used shares are shaded by how full they are; a
letter row below names the owners.
"""

from __future__ import annotations

from bareflow_gdb.guest.pools import Block, Pool

WIDTH = 64
_FULL = "█"
_MOST = "▓"
_SOME = "▒"
_LITTLE = "░"
_FREE = "·"
_UNKNOWN = " "


def pool_map(pool: Pool, width: int = WIDTH) -> str:
    """The strip between bars, and the owners' row; "" for a pool that has no blocks to draw."""
    if pool.size <= 0 or width <= 0 or not pool.blocks:
        return ""
    used, known = _fill(pool, width)
    share = pool.size / width
    strip = "".join(_shade(used[index] / share, known[index] / share) for index in range(width))
    owners, legend = _owners(pool, width)
    lines = [f"|{strip}|"]
    if legend:
        lines.append(f"|{owners}|")
        lines += [f"   {text}" for text in legend]
    return "\n".join(lines)


def _fill(pool: Pool, width: int) -> tuple[list[float], list[float]]:
    """Used and accounted bytes of each share."""
    used, known = [0.0] * width, [0.0] * width
    share = pool.size / width
    for block in pool.blocks:
        start = min(max(block.start - pool.base, 0), pool.size)
        end = min(max(block.end - pool.base, 0), pool.size)
        for index in range(int(start / share), min(width, int(end / share) + 1)):
            overlap = min(end, (index + 1) * share) - max(start, index * share)
            if overlap > 0:
                known[index] += overlap
                used[index] += overlap if block.state == "used" else 0
    return used, known


def _shade(used: float, known: float) -> str:
    if used >= 0.95:
        return _FULL
    if used >= 0.6:
        return _MOST
    if used >= 0.3:
        return _SOME
    if used > 0:
        return _LITTLE
    return _FREE if known > 0 else _UNKNOWN


def _owners(pool: Pool, width: int) -> tuple[str, list[str]]:
    """A letter under each share for its largest owner, and what the letters mean."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    groups: dict[str, list[Block]] = {}
    for block in pool.blocks:
        if block.state == "used":
            groups.setdefault(_group(block), []).append(block)
    share = pool.size / width
    bytes_of: list[dict[str, float]] = [{} for _ in range(width)]
    legend: list[str] = []
    for number, (group, blocks) in enumerate(groups.items()):
        letter = letters[number] if number < len(letters) else "?"
        if letter != "?":
            total = sum(block.size for block in blocks)
            legend.append(f"{letter} {group}: {len(blocks)} block{'s' * (len(blocks) != 1)}, {total:,} bytes")
        for block in blocks:
            start, end = block.start - pool.base, block.end - pool.base
            for index in range(max(0, int(start / share)), min(width, int(end / share) + 1)):
                overlap = min(end, (index + 1) * share) - max(start, index * share)
                if overlap > 0:
                    bytes_of[index][letter] = bytes_of[index].get(letter, 0) + overlap
    row = "".join(max(found, key=lambda key: found[key]) if found else " " for found in bytes_of)
    return row, legend


def _group(block: Block) -> str:
    """Blocks of one function or module belong together."""
    if block.owner_kind == "version":
        return block.owner_name.split(" ")[0]
    return block.owner_name or "no owner"
