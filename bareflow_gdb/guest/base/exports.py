"""Which symbols does the kernel export, and which data do the versions of a function share?

Read budget: 1 packet for 40 symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.reading import capped, filled, many
from bareflow_gdb.guest.base.root import MOST_SYMBOLS, Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True)
class GuestSymbol:
    """`struct bf_symbol`: a name, and where in the guest it is."""

    name: str
    address: Address
    size: int


def read_exports(memory: Memory, root: Root) -> list[GuestSymbol]:
    """The kernel's export table, as far as the root counts it; none when it has none. Raises ReadError."""
    return read_symbols(memory, root.exports, root.export_count, "export table", []) if root.exports else []


def read_symbols(memory: Memory, address: int, count: int, what: str, problems: list[str]) -> list[GuestSymbol]:
    """A table of symbols, cut at MOST_SYMBOLS with a sentence in `problems`. Raises ReadError."""
    raws = many(memory, "bf_symbol", address, capped(count, MOST_SYMBOLS, "symbols", problems), what)
    return [filled(GuestSymbol, raw, name=clean(raw.name)) for raw in raws]
