"""What is in the JIT pools, who owns each block?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.absent import TORN_DOWN
from bareflow_gdb.questions.question import Question, argument
from bareflow_gdb.render.pool_map import pool_map
from bareflow_gdb.render.view import Cell, Table, View, address, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.model.places import ModelMemory
    from bareflow_gdb.guest.pools.pools import Pool, Pools


KINDS = ("code", "data", "metadata")


def _view(record: Pools) -> View:
    """Statistics, pictures, blocks."""
    rows = [
        (
            pool.kind,
            address(pool.base),
            pool.size,
            Cell(f"{pool.used:,}", "strong"),
            pool.free,
            # Both are computed from blocks, of which nothing is left after a tear-down.
            None if pool.torn_down else pool.largest_free,
            _fragmentation(pool),
            pool.allocations,
            pool.frees,
            pool.peak,
        )
        for pool in record.pools
    ]
    columns = "pool|~base|>size|>used|>free|>~largest free|>~fragmented|>~allocs|>~frees|>~peak"
    parts: list[Table | str] = [table(columns, rows)]
    for pool in record.pools:
        parts += _pool_parts(pool)
    if record.model is not None:
        parts += ["", _model(record.model)]
    holds = f"the block table holds {record.block_capacity:,}" if record.block_capacity is not None else "walked"
    notes = [f"{record.block_count:,} blocks, {holds}"]
    return View("JIT pools", (), tuple(parts), tuple(record.all_problems()), tuple(notes))


def _model(model: ModelMemory) -> Table:
    """What a language model has of RAM; no pool, for it is handed out once."""
    rows = [("weights", address(model.weights), model.weights_bytes, model.weights_bytes)]
    if model.cache:
        rows += [
            ("keys and values", address(model.cache), model.cache_bytes, model.cache_used),
            ("activations, tokens", address(None), model.activations_bytes, model.activations_bytes),
            ("free behind it", address(None), model.free_bytes, 0),
        ]
    return table("what|~base|>bytes|>used", rows, "language model")


def _fragmentation(pool: Pool) -> str | None:
    if pool.fragmentation is not None:
        return f"{pool.fragmentation}%"
    return None if pool.torn_down else f"({pool.fragmentation_computed}%)"


def _pool_parts(pool: Pool) -> list[Table | str]:
    rows = [
        (
            address(block.address),
            block.size,
            Cell(block.state, "dim" if block.state == "free" else ""),
            block.owner_name or "-",
        )
        for block in pool.blocks
    ]
    title = f"{pool.kind} pool"
    none = f"{TORN_DOWN}: sizes and statistics are those of before" if pool.torn_down else "no blocks recorded"
    blocks = table("payload|>bytes|state|owner", rows, "", none)
    picture = pool_map(pool)
    return ["", f"{title}\n{picture}" if picture else title, blocks]


QUESTION = Question(
    name="pools",
    help="the JIT pools: used, free, fragmentation, a picture, the owner of each block",
    example="pools code",
    arguments=(
        argument("kind", nargs="?", choices=KINDS, metavar="KIND", help="code, data or metadata (default: all)"),
        argument("--check", action="store_true", help="walk the block headers too, about a packet per 2 KB"),
    ),
    ask=lambda context, options: context.kernel.pools(options.kind, options.check),
    view=_view,
    verdict=lambda record: not record.all_problems(),
    no="statistics, block table and headers contradict one another",
)
