"""How did each module's cost change from build to build, at which build, and what changed there?

Instructions are the same in every run of one build, so each difference is a change. Cycles are not: there a change is
where the sums of ranks before and after differ more than in 95 % of all orders of the same builds (Pettitt's statistic,
with a permutation test in the place of his approximation, which is for long series). It is looked for again on both
sides of each that was found.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from bareflow_gdb.errors import UsageError
from bareflow_gdb.pgo import profile
from bareflow_gdb.pgo.profile import INSTRUCTIONS, Cost, Profile

SAME = 0.005
"""Of a call: instructions that differ by less are no change."""
MOST = 500
FEWEST = 6
"""Builds among which a change in cycles can be told at all: of fewer, an order by chance is too likely."""
ORDERS = 2000
SIGNIFICANT = 0.05
_TRACE = "manifest.json"


@dataclass(frozen=True)
class Change:
    """A module costs something else from one build on."""

    build: str
    before: float
    """Of a call: the median of the builds before, back to the last change."""
    after: float
    what: str
    """What else changed there."""

    @property
    def more(self) -> float:
        """The share by which it costs more; less than 0: it costs less."""
        return self.after / self.before - 1 if self.before else 0.0


@dataclass(frozen=True)
class ModuleTrend:
    """One module over all builds that have it."""

    name: str
    costs: tuple[int, ...]
    changes: tuple[Change, ...]

    def regression(self, limit: float) -> Change | None:
        """The last change by which it costs more than `limit` (a share) more, and still does at the end."""
        found = None
        for change in self.changes:
            if change.more > limit:
                found = change
            elif found is not None and change.after <= found.before * (1 + limit):
                found = None
        return found


@dataclass(frozen=True)
class Trend:
    """All modules over the builds, in their order."""

    unit: str
    builds: tuple[str, ...]
    modules: tuple[ModuleTrend, ...]
    notes: tuple[str, ...]


def places(given: Sequence[Path]) -> list[Path]:
    """The profiles, logs and traces that are meant: of a directory that is no trace, what lies in it, by name."""
    found: list[Path] = []
    for path in given:
        if path.is_dir() and not (path / _TRACE).is_file():
            found += sorted(each for each in path.iterdir() if each.is_file() or (each / _TRACE).is_file())
        else:
            found.append(path)
    if not 2 <= len(found) <= MOST:
        raise UsageError(
            f"a trend takes 2 to {MOST} builds, these are {len(found)}; name their profiles in their order"
        )
    return found


def trend(paths: Sequence[Path], of: str = profile.MODULES) -> Trend:
    """Raises UsageError, BadData."""
    names = [path.name for path in paths]
    builds = [str(path) if names.count(path.name) > 1 else path.name for path in paths]
    profiles = [profile.read(path / "serial.log" if path.is_dir() else path, of) for path in paths]
    units = {one.unit for one in profiles}
    if len(units) > 1:
        raise UsageError("some of the profiles count instructions and some cycles; give those of one kind")
    unit = units.pop()
    order = dict.fromkeys(cost.name for one in profiles for cost in one.costs)
    modules = tuple(_module(name, builds, profiles, unit) for name in order)
    few = f"a change in cycles is told of {FEWEST} builds or more, these are {len(builds)}"
    return Trend(unit, tuple(builds), modules, (few,) if unit != INSTRUCTIONS and len(builds) < FEWEST else ())


def _module(name: str, builds: Sequence[str], profiles: Sequence[Profile], unit: str) -> ModuleTrend:
    found = [
        (build, cost)
        for build, one in zip(builds, profiles, strict=True)
        for cost in one.costs
        if cost.name == name and cost.calls
    ]
    costs = [cost.least for _, cost in found]
    starts = _steps(costs) if unit == INSTRUCTIONS else _change_points(costs)
    edges = [0, *starts, len(costs)]
    levels = [median(costs[a:b]) for a, b in pairwise(edges) if a < b]
    changes = tuple(
        Change(found[start][0], levels[number], levels[number + 1], _what(found[start - 1][1], found[start][1]))
        for number, start in enumerate(starts)
    )
    return ModuleTrend(name, tuple(costs), changes)


def _what(before: Cost, after: Cost) -> str:
    """What of a module differs between two builds, apart from its cost."""
    told = []
    if before.bitcode and after.bitcode and before.bitcode != after.bitcode:
        told.append("other source")
    if before.code_size and after.code_size and before.code_size != after.code_size:
        told.append(f"{before.code_size:,} to {after.code_size:,} bytes of code")
    return ", ".join(told) or "nothing that the profiles tell of"


def _steps(costs: Sequence[int]) -> list[int]:
    return [at for at in range(1, len(costs)) if abs(costs[at] - costs[at - 1]) > SAME * costs[at - 1]]


def _change_points(costs: Sequence[int], start: int = 0) -> list[int]:
    if len(costs) < FEWEST:
        return []
    ranks = _ranks(costs)
    at, statistic = _strongest(ranks)
    chance = random.Random(0)
    shuffled, as_strong = list(ranks), 0
    for _ in range(ORDERS):
        chance.shuffle(shuffled)
        as_strong += _strongest(shuffled)[1] >= statistic
    if as_strong / ORDERS >= SIGNIFICANT:
        return []
    before, after = _change_points(costs[:at], start), _change_points(costs[at:], start + at)
    return [*before, start + at, *after]


def _ranks(costs: Sequence[int]) -> list[float]:
    """Less their mean; of equal costs the mean of their ranks."""
    ordered = sorted(costs)
    rank = {cost: ordered.index(cost) + (ordered.count(cost) + 1) / 2 for cost in set(costs)}
    return [rank[cost] - (len(costs) + 1) / 2 for cost in costs]


def _strongest(ranks: Sequence[float]) -> tuple[int, float]:
    """Where the ranks before and after differ most, and by how much: the first build of what is after."""
    total, best = 0.0, (1, 0.0)
    for at, rank in enumerate(ranks[:-1], 1):
        total += rank
        if abs(total) > best[1]:
            best = (at, abs(total))
    return best
