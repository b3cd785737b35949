"""How is it shown what a guest does at this moment? One screen, the busiest functions first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bareflow_gdb.render.view import Cell, Value, View, facts, level_name, number, spoken, table, version

if TYPE_CHECKING:
    from bareflow_gdb.analysis.live import Counter, Look
    from bareflow_gdb.guest.code.swaps import Swap

_FULL = 80
"""Percent of a pool in use that is worth a look."""


def view(name: str, now: Look, note: str = "") -> View:
    """`note`: why the guest stands still."""
    stage = Cell(f"{now.stage}, stands still: {note}" if note else now.stage, "strong")
    head = facts(
        ("stage", stage),
        ("findings", _first(now.findings)),
        ("events", _counted(now.events)),
        ("swaps", _counted(now.swaps)),
    )
    busiest = sorted(now.functions, key=lambda one: (-(one.calls.per_second or 0), -one.calls.count))
    functions = [
        (
            one.name,
            level_name(one.level),
            version(one.version),
            one.calls.count,
            number(one.calls.per_second, 0),
            one.next_threshold,
        )
        for one in busiest
    ]
    pools = [
        (one.kind, one.used, one.peak, one.size, _share(one.used, one.size), number(one.allocations.per_second, 0))
        for one in now.pools
    ]
    parts = (
        table("function|tier|version|>calls|>a second|>~next at", functions),
        table("pool|>used|>~peak|>size|>in use|>allocations a second", pools),
        table("last swaps|tier|why|>at call|worth", [_swap(one) for one in now.last_swaps]),
    )
    return View(f"Machine {name}", head, parts, now.findings[1:], now.missing)


def _first(findings: Sequence[str]) -> Cell:
    """At the top, which every terminal shows."""
    if not findings:
        return Cell("none", "good")
    return Cell(f"{len(findings):,}, the first: {findings[0]}", "bad")


def _counted(counter: Counter | None) -> str | None:
    if counter is None:
        return None
    rate = f", {counter.per_second:,.0f} a second" if counter.per_second is not None else ""
    return f"{counter.count:,}{rate}"


def _share(used: int, size: int) -> Cell:
    if not size:
        return Cell("-", "dim")
    percent = 100 * used / size
    return Cell(f"{percent:.1f} %", "bad" if percent >= _FULL else "")


def _swap(one: Swap) -> tuple[Value | None, ...]:
    tiers = f"{level_name(one.from_level)} → {level_name(one.to_level)}"
    return (one.function, tiers, spoken(one.reason), one.call, one.worth.verdict if one.worth is not None else None)
