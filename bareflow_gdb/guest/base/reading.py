"""How are several small structures read in few round trips, and steadily while the guest runs?

Over a gdbstub every read is one packet and one packet carries about 2 KB, so neighbours are read together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.values import NO_MINIMUM
from bareflow_gdb.memory.protocol import Memory

T = TypeVar("T")

ONE_PACKET = 2000
"""Bytes that surely fit one gdbstub packet."""

_TURNS = 4


def one(memory: Memory, layout: str, address: int, what: str) -> Any:
    """One structure, as an object with its fields as attributes."""
    return layouts.unpack(layout, memory.read(address, layouts.size(layout), what))


def many(memory: Memory, layout: str, address: int, count: int, what: str) -> list[Any]:
    """The first `count` records of a table, in one read."""
    if count <= 0:
        return []
    data = memory.read(address, count * layouts.size(layout), what)
    return list(layouts.unpack_array(layout, data, count))


def read_word(memory: Memory, address: int, what: str) -> int:
    """A 32-bit number."""
    return int.from_bytes(memory.read(address, 4, what), "little")


def filled(kind: type[T], raw: Any, /, **given: Any) -> T:
    """A record: what is `given`, and each other field as the structure or record `raw` has it by the same name.

    An Address or a Word is a number as it stands in the structure. A field that neither has is its default, or a
    TypeError.
    """
    shared = _shared(kind, type(raw))  # type: ignore[arg-type] # mypy: a class is hashable
    return kind(**{name: getattr(raw, name) for name in shared} | given)


@cache
def _shared(kind: Any, source: Any) -> tuple[str, ...]:
    """The fields that both have; a structure is a named tuple, whose methods are not meant. None has no fields."""
    there: Any = getattr(source, "_fields", None) or getattr(source, "__dataclass_fields__", ())
    return tuple(field.name for field in dataclasses.fields(kind) if field.name in there)


def timed(raw: Any) -> dict[str, Any]:
    """Calls and cycles of a function or module, from any structure that counts them; None where no call was."""
    return {
        "calls": raw.call_count,
        "total_cycles": raw.total_cycles,
        "min_cycles": None if raw.min_cycles == NO_MINIMUM else raw.min_cycles,
        "max_cycles": raw.max_cycles,
        "mean_cycles": round(raw.total_cycles / raw.call_count, 3) if raw.call_count else None,
    }


def capped(count: int, capacity: int, what: str, problems: list[str]) -> int:
    """`count`, or the table's capacity and a sentence in `problems` when the guest claims more."""
    if count <= capacity:
        return count
    problems.append(f"the guest claims {count:,} {what}, the table holds {capacity:,}: only those are shown")
    return capacity


def bulk(memory: Memory, pieces: Sequence[tuple[int, int, str]]) -> list[bytes]:
    """The bytes of each (address, size, label); pieces that fit one packet together are read together."""
    order = sorted(range(len(pieces)), key=lambda index: pieces[index][0])
    found: dict[int, bytes] = {}
    at = 0
    while at < len(order):
        start, size, what = pieces[order[at]]
        end = start + size
        after = at + 1
        while after < len(order):
            address, length, _ = pieces[order[after]]
            if max(end, address + length) - start > ONE_PACKET:
                break
            end = max(end, address + length)
            after += 1
        for index, data in _cut(memory, start, end, what, [(i, *pieces[i]) for i in order[at:after]]):
            found[index] = data
        at = after
    return [found[index] for index in range(len(pieces))]


def optional(read: Callable[[], T], problems: list[str]) -> T | None:
    """What `read` gives; None, and why in `problems`, when that record is wrong or is not in this memory.

    An answer goes on without it, whichever of the two it is.
    """
    try:
        return read()
    except (BadData, ReadError) as error:
        problems.append(str(error))
        return None


def strays(memory: Memory, pieces: Sequence[tuple[int, int, str]]) -> list[bytes | None]:
    """As `bulk`, for addresses that need not be right: None for each that cannot be read."""
    try:
        return list(bulk(memory, pieces))
    except ReadError:
        pass
    found: list[bytes | None] = []
    for address, size, what in pieces:
        try:
            found.append(memory.read(address, size, what))
        except ReadError:
            found.append(None)
    return found


def _cut(
    memory: Memory, start: int, end: int, what: str, pieces: list[tuple[int, int, int, str]]
) -> Iterable[tuple[int, bytes]]:
    """One read cut into its pieces; piece by piece when the gap between them cannot be read."""
    try:
        data = memory.read(start, end - start, what)
    except ReadError:
        if len(pieces) == 1:
            raise
        return [(index, memory.read(address, size, label)) for index, address, size, label in pieces]
    return [(index, data[address - start : address - start + size]) for index, address, size, _ in pieces]


def strings(memory: Memory, addresses: Iterable[int], longest: int, what: str) -> dict[int, str]:
    """The NUL-terminated texts at these addresses; an address that cannot be read is left out."""
    wanted = sorted({address for address in addresses if address})
    texts = strays(memory, [(address, longest, what) for address in wanted])
    return {address: clean(raw) for address, raw in zip(wanted, texts, strict=True) if raw is not None}


def settled(memory: Memory, read: Callable[[], T]) -> tuple[T, bool]:
    """What `read` returns twice in a row: a running guest may change a table between two reads.

    A source whose reads cost packets belongs to a stopped guest: it is read once. A guest that never holds
    still gives its last state, and False.
    """
    last = read()
    if not memory.live or memory.packets:
        return last, True
    for _ in range(_TURNS):
        memory.invalidate()
        again = read()
        if again == last:
            return last, True
        last = again
    return last, False
