"""What does an answer look like before anybody decides on colour and width?

A view is a title, facts (label and value), tables, free text, problems and notes. Every record becomes one
view; a view becomes plain text or coloured text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bareflow_gdb.guest.code.being_published import BEING_PUBLISHED

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.being_published import Publishing, UnderWay


@dataclass(frozen=True)
class Cell:
    """One value with the way it is meant: "", "good", "bad", "dim", "strong"."""

    text: str
    style: str = ""


Value = str | int | Cell


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers are `right` aligned; a `spare` one may go when the terminal is narrow."""

    name: str
    right: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of equal length under columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    empty: str = "none"
    """What is said when there are no rows."""


@dataclass(frozen=True)
class View:
    """Everything an answer shows, from top to bottom."""

    title: str
    facts: tuple[tuple[str, Cell], ...] = ()
    parts: tuple[Table | str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def cell(value: Value | None) -> Cell:
    """Any value as a cell; None is shown as `-`, numbers with thousands separated."""
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("-", "dim")
    if isinstance(value, int):
        return Cell(f"{value:,}")
    return Cell(value)


def address(value: int | None) -> Cell:
    """An address as 0x%08x, 0 as `-`."""
    return Cell(f"0x{value:08x}") if value else Cell("-", "dim")


def number(value: float | None, digits: int = 1) -> Cell:
    """A measured value with its decimals, None as `-`."""
    return Cell(f"{value:,.{digits}f}") if value is not None else Cell("-", "dim")


def milliseconds(us: float | None) -> Cell:
    """How long something took. All times are shown in ms: a swap that a debugger held up took seconds."""
    return number(us / 1000 if us is not None else None, 3)


def yes(value: bool, good: str = "yes", bad: str = "no") -> Cell:
    """Good or bad news."""
    return Cell(good, "good") if value else Cell(bad, "bad")


def level_name(level: int | None) -> str:
    """A level as `O2`, one that is not known as `?`."""
    return "?" if level is None else f"O{level}"


def spoken(text: str) -> str:
    """A word of the contract as people write it: `host asked`."""
    return text.replace("_", " ")


def version(value: int | None) -> Cell:
    """A version's number as `#24`, none as `-`."""
    return Cell(f"#{value}") if value else Cell("-", "dim")


def result(last: int | None, expected: int | None) -> Cell:
    """A function's last result, good or bad by what is expected."""
    if last is None:
        return Cell("-", "dim")
    return Cell(f"{last:,}", "good" if last == expected else "bad")


def known(*pairs: tuple[str, Value | None]) -> tuple[tuple[str, Cell], ...]:
    """Labels with their values, those that have one."""
    return tuple((label, shown) for label, shown in facts(*pairs) if shown.text != "-")


def facts(*pairs: tuple[str, Value | None]) -> tuple[tuple[str, Cell], ...]:
    """Labels with their values."""
    return tuple((label, cell(value)) for label, value in pairs)


def table(columns: str, rows: Sequence[Sequence[Value | None]], title: str = "", empty: str = "none") -> Table:
    """`columns` are headings separated by `|`, each after its marks: `>` right aligned, `~` spare."""
    heads = tuple(Column(name.lstrip(">~"), ">" in name, "~" in name) for name in columns.split("|"))
    return Table(heads, tuple(tuple(cell(value) for value in row) for row in rows), title, empty)


def publishing(swaps: Iterable[Publishing]) -> tuple[tuple[str, str], ...]:
    """The line of facts about swaps that the guest is making at this moment."""
    told = ", ".join(f"{swap}, new code 0x{swap.new_code:08x}" for swap in swaps)
    return ((BEING_PUBLISHED, told),) if told else ()


def controlled(
    under_way: Iterable[UnderWay], vetoed: Sequence[str], publishing: Iterable[Publishing] = ()
) -> tuple[tuple[str, str], ...]:
    """The lines of facts about swaps that are begun, but for those being published, and about functions not swapped."""
    told = {swap.function for swap in publishing}
    begun = ", ".join(str(swap) for swap in under_way if swap.function not in told)
    lines = (("under way", begun), ("vetoed", ", ".join(vetoed)))
    return tuple(line for line in lines if line[1])


COUNTED = {
    "guest": "by the guest's own count",
    "levels": "read off the tiers in memory",
    "events": "by the events of the trace",
    "log": "by the serial log",
}
"""What a number of swaps comes from, in words."""


def published(swaps: int, versions: int, counted_by: str) -> str:
    """How many swaps and versions there are; a kernel that keeps no versions has compiled levels."""
    if counted_by == "guest":
        return f"{swaps:,} published, {versions:,} versions begun"
    return f"{swaps:,} {COUNTED[counted_by]}, {versions:,} tiers compiled"


def level_now(level: int, swap: Publishing | None) -> str:
    """A function's tier; during a swap both of them."""
    return f"O{level}" if swap is None else f"O{swap.from_level} → O{swap.to_level}"


def unread(versions: int) -> tuple[tuple[str, str], ...]:
    """The fact, for questions about the version table; nothing when all of it was read."""
    if not versions:
        return ()
    return (("not read", f"{versions:,} versions, which cost a packet for 31: --all reads them"),)
