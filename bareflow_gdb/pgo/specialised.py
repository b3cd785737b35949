"""How does a running guest get a version of a function that is made for the arguments that it is called with?

For a while a version runs that counts them. What most calls have become constants behind a guard; other calls take the
code behind it as before. The guest's own measurements decide, of this version and of the same compiler's for any
arguments: one that is not faster is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.costs import Costs, read_costs
from bareflow_gdb.guest.code.functions import read_tables
from bareflow_gdb.guest.code.outcome import ANSWER_SECONDS, Outcome, Specialised
from bareflow_gdb.guest.code.worth import FASTER, FEWEST, UNKNOWN, Worth, judge
from bareflow_gdb.pgo.arguments import SHARE, Arguments, Constants, constants
from bareflow_gdb.pgo.entries import counting, guarded, read_arguments
from bareflow_gdb.pgo.live import (
    Counting,
    bitcode_to_count,
    calls_of,
    counts_itself,
    put_back,
    version_that_counts,
    wait_for_calls,
)
from bareflow_gdb.recompile.recipe import Recipe, Source
from bareflow_gdb.recompile.service import Service

ARGUMENTS_USUALLY = Counting(calls=64, arguments=True)
LOOK_SECONDS = 0.1

Progress = Callable[[str, float], None]


def specialise(
    service: Service,
    name: str,
    level: int,
    recipe: Recipe,
    how_long: Counting,
    timeout: float = ANSWER_SECONDS,
    progress: Progress = lambda _what, _share: None,
    keep: Path | None = None,
) -> Outcome:
    """What became of a version for the arguments that most calls have; rolled back when it is not faster.

    `how_long`: so many calls are counted; counting takes so long at most, and measuring does. `keep`: a folder for
    what the code was made of.

    Raises UsageError for a recipe with a source and for a function without bitcode; BareflowError when no arguments
    are those of most calls, or a version was refused, not called, or not taken back.
    """
    _, bitcode = bitcode_to_count(service, name, recipe)
    seen = counted(service, name, level, recipe, how_long, timeout, progress)
    made_for = constants(seen)
    if made_for is None:
        raise BareflowError(_nothing_constant(name, seen))
    # It has to be faster than the same compiler makes it at the same tier for any arguments.
    usual = service.request(name, level, timeout, recipe=recipe)
    before = usual.version
    if not usual.right or before is None:
        return usual
    measure = _Measure(service, how_long.seconds, progress)
    measure.until(lambda: measure.samples(before) >= FEWEST, "measuring it for any arguments")
    source = Source(guarded(bitcode, made_for), bitcode.entry, edited=False)
    outcome = service.request(name, level, timeout, recipe=replace(recipe, source=source), keep=keep)
    version = outcome.version
    if not outcome.installed or version is None:
        return outcome
    kept = False
    try:
        measure.until(lambda: measure.worth(before, version).verdict != UNKNOWN, f"measuring it for {made_for}")
        worth = measure.worth(before, version)
        kept = worth.verdict == FASTER
    finally:
        # Also one that nobody waited for, or that was called too seldom to be measured.
        if not kept:
            put_back(service, name, before, f"for {made_for}")
    return replace(outcome, specialised=_told(made_for, seen, worth, kept))


def counted(
    service: Service,
    name: str,
    level: int,
    recipe: Recipe,
    how_long: Counting,
    timeout: float = ANSWER_SECONDS,
    progress: Progress = lambda _what, _share: None,
) -> Arguments:
    """With what a function is called, by a version that counts for a while. Raises like `specialise`."""
    function, bitcode = bitcode_to_count(service, name, recipe)
    counts = counts_itself(recipe, counting(bitcode), bitcode)
    with version_that_counts(service, function, level, counts, timeout) as symbols:
        wait_for_calls(service, function, calls_of(service, function), how_long, progress)
        return read_arguments(service.memory, symbols, name)


def _nothing_constant(name: str, seen: Arguments) -> str:
    if not seen.calls:
        return f"{name} was not called while its arguments were counted; ask while the guest calls it, or count longer"
    (a, b), most = max(seen.calls.items(), key=lambda one: one[1])
    return (
        f"no arguments are those of more than {SHARE:.0%} of the {seen.total:,} calls that were counted, so {name} "
        f"stays as it is: the most frequent ones, {a:,} and {b:,}, have {most / seen.total:.0%}"
    )


class _Measure:
    """What the guest measured of its calls, version by version."""

    def __init__(self, service: Service, seconds: float, progress: Progress) -> None:
        self._service = service
        self._seconds = seconds
        self._progress = progress

    def until(self, enough: Callable[[], bool], what: str) -> None:
        """Until it is enough, or the time is over."""
        began = time.monotonic()
        while not enough() and (spent := time.monotonic() - began) < self._seconds:
            self._progress(what, spent / self._seconds)
            time.sleep(LOOK_SECONDS)

    def samples(self, version: int) -> int:
        """How many calls of a version were measured."""
        cost = self._costs().get(version)
        return 0 if cost is None else len(cost.cycles)

    def worth(self, before: int, after: int) -> Worth:
        """Is one version faster than the other one?"""
        costs = self._costs()
        return judge(costs.get(before), costs.get(after), None)

    def _costs(self) -> Costs:
        self._service.memory.invalidate()
        tables = read_tables(self._service.memory, self._service.root, [], every=True, causes=False)
        return read_costs(self._service.memory, self._service.root, tables)


def _told(made_for: Constants, seen: Arguments, worth: Worth, kept: bool) -> Specialised:
    sides = [side.cycles if side is not None and side.samples else None for side in (worth.before, worth.after)]
    return Specialised(
        a=made_for.a,
        b=made_for.b,
        share=round(made_for.share, 4),
        calls=seen.total,
        verdict=worth.verdict,
        why=worth.why,
        before=sides[0],
        after=sides[1],
        kept=kept,
    )
