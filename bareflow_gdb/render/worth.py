"""How is it shown what swaps were worth?"""

from __future__ import annotations

from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.code.worth import FASTER, PAID, SLOWER, UNKNOWN, Worth
from bareflow_gdb.render.view import Cell, Table, Value, level_name, number, table

_STYLES = {PAID: "good", FASTER: "good", SLOWER: "bad", UNKNOWN: "dim"}
_COLUMNS = (
    ">#|function|to|>cycles a call before|>after|>saved|>~saved, 95 %|>~made in|>pays after calls|>~called|>~net|worth"
)


def worth_of(record: Swaps, most: int | None = None) -> Table | str:
    """A table of the first swaps, or why it cannot be told."""
    if record.no_worth:
        return f"What the swaps were worth is not known: {record.no_worth}."
    rows = [_row(index, swap) for index, swap in enumerate(record.swaps[:most], start=1)]
    return table(_COLUMNS, rows, title="what they were worth, in cycles")


def _row(index: int, swap: Swap) -> tuple[Value | None, ...]:
    worth = swap.worth or Worth(UNKNOWN)
    told = worth.saved is not None
    return (
        str(index),
        swap.function,
        level_name(swap.to_level),
        number(worth.before.cycles if worth.before and told else None, 0),
        number(worth.after.cycles if worth.after and told else None, 0),
        number(worth.saved, 0),
        f"{worth.saved_low:,} to {worth.saved_high:,}" if told else None,
        worth.made,
        worth.break_even,
        worth.after.calls if worth.after else None,
        worth.net,
        Cell(f"{worth.verdict}: {worth.why}" if worth.why else worth.verdict, _STYLES.get(worth.verdict, "")),
    )
