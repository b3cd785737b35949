"""What is the pool block around this address?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import ADDRESS, Question, argument
from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.view import Cell, Table, View, address, known, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.pools.block import BlockReport
    from bareflow_gdb.guest.pools.pools import Block


def _view(record: BlockReport) -> View:
    """The block, its neighbours, its first bytes."""
    block, header = record.block, record.header
    side = "in the block header" if record.offset < 0 else f"payload + 0x{record.offset:x}"
    head = known(
        ("asked", f"0x{record.asked:08x}: {side}"),
        ("pool", record.pool),
        ("state", Cell(block.state, "dim" if block.state == "free" else "strong")),
        ("owner", block.owner_name or None),
        ("payload", f"0x{block.address:08x} to 0x{block.end:08x}, {block.size:,} bytes"),
        (
            "header",
            f"0x{header.address:08x}: magic 0x{header.magic:08x}, {header.size:,} bytes, "
            f"{'free' if header.free else 'used'}" + (f", next 0x{header.next:08x}" if header.next else ""),
        ),
    )
    rows = [_neighbour("before", record.before), _neighbour("after", record.after)]
    parts: list[Table | str] = [table("neighbour|payload|>bytes|state|owner", rows)]
    if record.data:
        parts.append(hexdump(bytes.fromhex(record.data), block.address))
    return View(f"Pool block 0x{block.address:08x}", head, tuple(parts), record.problems)


def _neighbour(side: str, block: Block | None) -> tuple[str | int | Cell | None, ...]:
    if block is None:
        return (side, None, None, f"the pool {'begins' if side == 'before' else 'ends'} here", None)
    return (side, address(block.address), block.size, block.state, block.owner_name or None)


QUESTION = Question(
    name="block",
    help="the pool block around an address: header, owner, first bytes, neighbours",
    details="The headers of both neighbours are checked too: an overrun damages the next one.",
    example="block 0x00200010",
    arguments=(
        argument("address", kind=ADDRESS, metavar="ADDRESS", help="the address"),
        argument("--bytes", type=int, metavar="N", help="bytes to show (default 128)"),
    ),
    ask=lambda context, options: context.kernel.block(options.address, options.bytes),
    view=_view,
    verdict=lambda record: not record.problems,
    no="its header or a neighbour's is damaged",
)
