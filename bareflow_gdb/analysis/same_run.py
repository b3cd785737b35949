"""Do two traces of one run tell the same swaps? What one source may miss, and says so, is no contradiction.

Compared function by function: which code was published after which, at which tier and call. Times are not: each source
has its own clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.tracing.store import Trace

MOST = 1000
"""Sentences."""


@dataclass(frozen=True)
class Side:
    """One trace."""

    trace: str
    source: str
    """"ring", "watch", "tables"."""
    swaps: int
    missed: int
    """By its own account."""
    untold: int
    """Swaps that only the other one tells, within what this one says that it missed."""


@dataclass(frozen=True)
class SameRun:
    """Both compared; they agree when nothing contradicts."""

    sides: tuple[Side, Side]
    agreed: int
    """Swaps that both tell alike."""
    contradictions: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Do they tell the same story?"""
        return not self.contradictions


def same_run(one: Trace, other: Trace) -> SameRun:
    """Raises BadData when the events of one cannot be read, UsageError when one was recorded with a filter."""
    traces = one, other
    for trace in traces:
        if trace.manifest.filter:
            kept = "; ".join(trace.manifest.filter)
            raise UsageError(f"{trace.directory} cannot tell all swaps, only {kept} was kept: record without a filter")
    told = [_by_function(trace_swaps(trace).swaps) for trace in traces]
    may_miss = [trace.manifest.missed + trace.lost for trace in traces]
    contradictions: list[str] = []
    alone: tuple[list[Swap], list[Swap]] = [], []
    agreed = 0
    for function in dict.fromkeys((*told[0], *told[1])):
        pairs = _aligned(told[0].get(function, ()), told[1].get(function, ()))
        for mine, its in pairs:
            if mine is None or its is None:
                (alone[0] if mine is not None else alone[1]).append(mine or its)  # type: ignore[arg-type] # one is there
            elif why := _differs(mine, its):
                contradictions.append(f"{_words(mine)}: {why}")
            else:
                agreed += 1
    sources = [trace.manifest.kind for trace in traces]
    for at in (0, 1):
        only, may = alone[1 - at], may_miss[at]
        if len(only) > may:
            says = f"says that it missed {may:,}" if may else "says that it missed none"
            swaps = "; ".join(_words(swap) for swap in only[:3])
            more = f", and {len(only) - 3:,} more" if len(only) > 3 else ""
            contradictions.append(f"the {sources[at]} of {traces[at].directory} {says}, and has not {swaps}{more}")
    sides = [
        Side(str(traces[at].directory), sources[at], sum(map(len, told[at].values())), may_miss[at], len(alone[1 - at]))
        for at in (0, 1)
    ]
    return SameRun((sides[0], sides[1]), agreed, tuple(contradictions[:MOST]))


def _by_function(swaps: Sequence[Swap]) -> dict[str, list[Swap]]:
    found: dict[str, list[Swap]] = {}
    for swap in swaps:
        found.setdefault(swap.function, []).append(swap)
    return found


def _aligned(mine: Sequence[Swap], its: Sequence[Swap]) -> Iterator[tuple[Swap | None, Swap | None]]:
    """The swaps to the same code side by side, in their order; None where the other side has none."""
    i = j = 0
    left = Counter(map(_code, mine))
    while i < len(mine) and j < len(its):
        if _code(mine[i]) == _code(its[j]):
            yield mine[i], its[j]
            left[_code(mine[i])] -= 1
            i, j = i + 1, j + 1
        elif left[_code(its[j])]:
            yield mine[i], None
            left[_code(mine[i])] -= 1
            i += 1
        else:
            yield None, its[j]
            j += 1
    yield from ((swap, None) for swap in mine[i:])
    yield from ((None, swap) for swap in its[j:])


def _code(swap: Swap) -> tuple[int, int]:
    return swap.new_code, swap.to_level


def _differs(mine: Swap, its: Swap) -> str:
    """What of one swap two sources tell differently; "" = nothing."""
    # After a swap that one of them missed the old code differs.
    levels = mine.from_level, its.from_level
    if mine.old_code == its.old_code and None not in levels and levels[0] != levels[1]:
        return f"from O{mine.from_level}, from O{its.from_level}"
    if mine.reason != its.reason and "none" not in (mine.reason, its.reason):
        return f"by {mine.reason}, by {its.reason}"
    if mine.call is not None and its.call is not None and mine.call != its.call:
        return f"at call {mine.call:,}, at call {its.call:,}"
    return ""


def _words(swap: Swap) -> str:
    before = "" if swap.from_level is None else f"O{swap.from_level} "
    return f"{swap.function} {before}-> O{swap.to_level}, code at 0x{swap.new_code:08x}"
