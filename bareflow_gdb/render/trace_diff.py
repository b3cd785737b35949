"""How is it shown what changed from one trace to another? What changed, and how much did not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bareflow_gdb.guest.code.worth import FASTER, SLOWER, UNKNOWN
from bareflow_gdb.render.view import Cell, Table, Value, View, level_name, number, table

if TYPE_CHECKING:
    from bareflow_gdb.analysis.trace_diff import Code, Measured, Run, Stage, Tiers, TraceDiff

_STYLES = {FASTER: "good", SLOWER: "bad"}
_NO_FUNCTION = "not swapped"


def view(found: TraceDiff) -> View:
    """Facts of both runs, then a table for each part that changed."""
    facts = (("before", Cell(_run(found.before))), ("after", Cell(_run(found.after))))
    took = "{}||>before|>after|>saved|>~saved, 95 %"
    parts = (
        _part("tiers", found.tiers, "function|>before|>after|>~at calls before|>~at calls after", _tiers_row),
        _part("cycles of a call", found.costs, took.format("code"), _measured_row),
        _part("code, bytes", found.code, "code|>before|>after|", _code_row),
        _part("ticks of a swap", found.swaps, took.format("step"), _measured_row),
        *_boot(found.boot),
    )
    ending = "" if found.changed else "Nothing changed that noise does not explain."
    return View("Two traces", facts, tuple(filter(None, (*parts, ending))), notes=found.notes)


def _run(run: Run) -> str:
    thresholds = "/".join(map(str, run.thresholds))
    lost = f", {run.lost:,} events lost" if run.lost else ""
    return f"{run.trace}: {run.variant} {run.build_id[:12]}, thresholds {thresholds}, clock {run.clock}{lost}"


def _part(
    title: str, records: Sequence[Any], columns: str, row: Callable[[Any], tuple[Value | None, ...]]
) -> Table | str:
    """A table of those that changed, and how many did not; "" where nothing could be compared."""
    if not records:
        return ""
    changed = [one for one in records if one.changed]
    unknown = sum(1 for one in records if getattr(one, "worth", None) and one.worth.verdict == UNKNOWN)
    same = len(records) - len(changed) - unknown
    rest = f", {unknown:,} measured too little" if unknown else ""
    if not changed:
        return f"{title}: no difference in {same:,}{rest}"
    return table(columns, [row(one) for one in changed], title=f"{title}: {len(changed):,} changed, {same:,} not{rest}")


def _boot(stages: Sequence[Stage]) -> tuple[Table | str, ...]:
    columns = "stage|>before|>after"
    apart = [_stage_row(one) for one in stages if one.verdict == "apart"]
    shown = (table(columns, apart, title="measured once, and far apart: the host may have done that"),) if apart else ()
    return (_part("ticks of a boot stage", stages, columns, _stage_row), *shown)


def _tiers_row(one: Tiers) -> tuple[Value | None, ...]:
    def calls(side: Sequence[int | None]) -> str:
        return " ".join("-" if call is None else f"{call:,}" for call in side)

    levels = (_NO_FUNCTION if level is None else level_name(level) for level in (one.before, one.after))
    return (one.function, *levels, calls(one.calls_before), calls(one.calls_after))


def _measured_row(one: Measured) -> tuple[Value | None, ...]:
    worth = one.worth
    return (
        one.what,
        Cell(worth.verdict, _STYLES.get(worth.verdict, "")),
        number(worth.before.cycles if worth.before else None, 0),
        number(worth.after.cycles if worth.after else None, 0),
        number(worth.saved, 0),
        f"{worth.saved_low:,} to {worth.saved_high:,}" if worth.saved is not None else None,
    )


def _code_row(one: Code) -> tuple[Value | None, ...]:
    return (f"{one.function} {level_name(one.level)}", one.before, one.after, "other bytes")


def _stage_row(one: Stage) -> tuple[Value | None, ...]:
    return (one.name, one.before, one.after)
