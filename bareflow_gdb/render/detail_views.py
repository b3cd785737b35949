"""Which facts and tables do the records about single things show: a header, a bitcode, a block, the cache?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.view import Cell, Table, View, address, facts, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.bitcode_report import BitcodeReport
    from bareflow_gdb.guest.code.cache import Cache
    from bareflow_gdb.guest.modules.header import HeaderReport
    from bareflow_gdb.guest.pools.block import BlockReport
    from bareflow_gdb.guest.pools.pools import Block


def header_view(record: HeaderReport) -> View:
    """Fields, parts of the image, the raw bytes."""
    right = not record.problems
    tier = f", tier O{record.level}" if record.level is not None else ""
    head = facts(
        ("module", f"{record.module}{tier}" if record.module else "not one of the module manager's"),
        ("header", yes(right, "right", "wrong")),
        ("at", f"0x{record.address:08x}, {record.image_size:,} bytes with everything"),
        ("magic", f'0x{record.magic:08x} "{record.magic_text}"'),
        ("name", record.name),
        ("version", str(record.version)),
        ("entry", f"0x{record.entry_point:08x}"),
        ("code", f"{record.code_size:,} bytes"),
        ("relocations", record.relocations if record.version == 2 else None),
        (".bss", f"{record.bss_size:,} bytes" if record.version == 2 else None),
        ("shared data", ", ".join(record.symbols) or None),
        ("SHA-256", Cell(record.digest, {"right": "good", "wrong": "bad"}.get(record.digest, "dim"))),
    )
    rows = [(part.name, part.offset, part.size) for part in record.parts]
    parts: list[Table | str] = [table("part|>offset|>bytes", rows)] if rows else []
    parts.append(hexdump(bytes.fromhex(record.raw), record.address))
    return View("Module header", _known(head), tuple(parts), record.problems)


def bitcode_view(record: BitcodeReport) -> View:
    """Wrapper and producer."""
    code, made = record.bitcode, record.producer
    if not code.address:
        return View(f"Bitcode of {code.function}", notes=(f"{code.function} carries no bitcode",))
    head = facts(
        ("wrapper", yes(not record.problems, "right", "wrong")),
        ("at", f"0x{code.address:08x}, {code.size:,} bytes with the payload"),
        ("header", record.generation),
        ("module", code.module),
        ("entry", code.entry),
        ("version", f"{code.version}, made at O{code.level}"),
        ("payload", f"0x{code.payload:08x}, {code.payload_size:,} bytes" if code.payload else None),
        ("producer", made.producer if made else None),
        ("format", f"epoch {made.epoch}, module version {made.version}" if made else None),
        ("triple", made.triple if made else None),
        ("source", made.source if made else None),
    )
    title = f"Bitcode of {code.function}" if code.function else "Bitcode"
    return View(title, _known(head), (), record.problems)


def block_view(record: BlockReport) -> View:
    """The block, its neighbours, its first bytes."""
    block, header = record.block, record.header
    side = "in the block header" if record.offset < 0 else f"payload + 0x{record.offset:x}"
    head = facts(
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
    return View(f"Pool block 0x{block.address:08x}", _known(head), tuple(parts), record.problems)


def _neighbour(side: str, block: Block | None) -> tuple[str | int | Cell | None, ...]:
    if block is None:
        return (side, None, None, f"the pool {'begins' if side == 'before' else 'ends'} here", None)
    return (side, address(block.address), block.size, block.state, block.owner_name or None)


def cache_view(record: Cache) -> View:
    """Slots in use, the one that leaves first on top."""
    asked = record.hits + record.misses
    share = f" ({100 * record.hits // asked}%)" if asked else ""
    head = facts(
        ("slots", f"{len(record.slots)} of {record.capacity} in use"),
        ("hits", f"{record.hits:,} of {asked:,}{share}"),
        ("evictions", record.evictions),
    )
    rows = [
        (
            str(s.index),
            s.name,
            f"O{s.level}",
            s.state,
            address(s.image),
            s.image_size,
            s.tsc_last_used or None,
        )
        for s in record.slots
    ]
    columns = ">slot|module|tier|state|image|>bytes|>~last used, TSC"
    return View("Cache of module images", head, (table(columns, rows, empty="empty"),), record.problems)


def _known(head: tuple[tuple[str, Cell], ...]) -> tuple[tuple[str, Cell], ...]:
    return tuple((label, value) for label, value in head if value.text != "-")
