"""What do the JIT pools look like? A strip per pool, true to scale, coloured by who owns each block."""

from __future__ import annotations

from bareflow_gdb.guest.pools.pools import Pool, Pools
from bareflow_gdb.render.report.markup import Markup, tag

WIDTH = 1000
HEIGHT = 26
MAX_BLOCKS = 2048
OWNERS = ("version", "module", "cache", "file", "table", "test", "none")


def pool_picture(pools: Pools) -> Markup:
    """All pools, each with its figures."""
    used = {block.owner_kind for pool in pools.pools for block in pool.blocks if block.state == "used"}
    legend = [tag("span", tag("i", class_=f"key o-{kind}"), kind, class_="legend") for kind in OWNERS if kind in used]
    return tag("div", [_strip(pool) for pool in pools.pools], tag("p", legend), class_="pools")


def _strip(pool: Pool) -> Markup:
    size = max(pool.size, 1)
    parts = [tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, class_="o-free")]
    for block in pool.blocks[:MAX_BLOCKS]:
        if block.state != "used":
            continue
        begin = min(max(block.start - pool.base, 0), size)
        end = min(max(block.end - pool.base, begin), size)
        x, width = WIDTH * begin / size, WIDTH * (end - begin) / size
        kind = block.owner_kind if block.owner_kind in OWNERS else "none"
        box = tag("rect", x=x, y=0, width=max(width, 0.6), height=HEIGHT, class_=f"o-{kind} block")
        told = f"0x{block.address:08x}, {block.size:,} bytes, {block.owner_name or block.owner_kind}"
        parts.append(tag("g", tag("title", told), box))
    share = 100 * pool.used / size
    fragmentation = pool.fragmentation_computed if pool.fragmentation is None else pool.fragmentation
    told = "not known" if fragmentation is None else f"{fragmentation:,} %"
    words = (
        f"{pool.kind.upper()}  0x{pool.base:08x}  {pool.used:,} of {pool.size:,} bytes used ({share:.1f} %), "
        f"{pool.allocations:,} allocations, {pool.frees:,} frees, fragmentation {told}"
    )
    picture = tag("svg", parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", preserveAspectRatio="none", class_="strip")
    return tag("figure", tag("figcaption", words), picture)
