"""When was each function swapped, why, to what, and what was it worth?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import KERNEL, TRACE, Context, Options, Question, argument
from bareflow_gdb.render.view import (
    COUNTED,
    Cell,
    View,
    address,
    controlled,
    facts,
    milliseconds,
    publishing,
    spoken,
    table,
    unread,
    version,
)

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.swaps import Swap, Swaps


def _ask(context: Context, options: Options) -> Swaps:
    if context.trace is None:
        return context.kernel.swaps(every=options.all)
    from bareflow_gdb.analysis.swaps import trace_swaps

    return trace_swaps(context.trace)


def _view(record: Swaps) -> View:
    """One line per swap, in the order of time."""
    from bareflow_gdb.render.worth import worth_of

    rows = [_swap_row(index, swap) for index, swap in enumerate(record.swaps, start=1)]
    head = facts(
        ("swaps", _count(record)),
        *publishing(record.publishing),
        *controlled(record.under_way, record.vetoed, record.publishing),
        *unread(record.unread),
    )
    columns = (
        ">~#|function|from|to|>at call|reason|version|~old code|~new code|>~bytes"
        "|>~threshold to publish ms|>~publish to first call ms"
    )
    return View("Swaps", head, (table(columns, rows, empty="no swap yet"), *([worth_of(record)] if rows else ())))


def _count(record: Swaps) -> str:
    said = f"{record.swap_count:,} {COUNTED[record.counted_by]}"
    return said if record.forgotten is None else f"{said}, {record.forgotten:,} of them forgotten"


def _swap_row(index: int, swap: Swap) -> tuple[str | int | Cell | None, ...]:
    before = "-" if swap.from_level is None else f"O{swap.from_level}"
    same = Cell(f"O{swap.to_level} same code", "bad") if swap.same_code else f"O{swap.to_level}"
    return (
        str(index),
        swap.function,
        before,
        same,
        swap.call,
        spoken(swap.reason),
        version(swap.to_version),
        address(swap.old_code),
        address(swap.new_code),
        swap.code_size,
        milliseconds(swap.threshold_to_publish_us),
        milliseconds(swap.publish_to_first_us),
    )


QUESTION = Question(
    name="swaps",
    help="every code swap: call, reason, tiers, addresses, times, and what it was worth",
    example="swaps",
    arguments=(
        argument("--all", action="store_true", help="every version, where that costs more than ten packets too"),
    ),
    needs=(KERNEL, TRACE),
    ask=_ask,
    view=_view,
    verdict=lambda record: bool(record.swaps),
    no="nothing was swapped",
)
