"""Does a guest keep the rules that it is held to? Each rule is kept, broken, or it is not known why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from bareflow_gdb.analysis.rules import (
    BROKEN,
    EVERY,
    EXCEPTIONS,
    FINDINGS,
    KEPT,
    LOST,
    NOT_KNOWN,
    REGRETTED,
    Judged,
    Reach,
    Rules,
)
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.code.worth import SLOWER, UNKNOWN
from bareflow_gdb.tracing.store import Trace


@dataclass(frozen=True)
class _Now:
    """A function's tier and calls at the moment that is looked at."""

    level: int
    calls: int


class _Guest:
    """What rules ask, each read once; raises BareflowError where it is not known."""

    def __init__(self, subject: Subject, trace: Trace | None) -> None:
        self.subject = subject
        self.trace = trace

    @cached_property
    def swaps(self) -> Swaps:
        return trace_swaps(self.trace) if self.trace is not None else self.subject.kernel.swaps(every=True)

    @cached_property
    def functions(self) -> dict[str, _Now]:
        return {one.name: _Now(one.level, one.calls) for one in self.subject.kernel.jit().functions}


def judge(rules: Rules, subject: Subject, trace: Trace | None) -> tuple[Judged, ...]:
    """All rules, in the order of the file's parts. Raises nothing: what cannot be read is not known."""
    guest = _Guest(subject, trace)
    asked: list[tuple[str, Callable[[str], Iterable[Judged]]]] = [
        *((_words(reach), partial(_reached, reach, guest)) for reach in rules.reaches),
        *(
            (f"{what.replace('_', ' ')}: at most {most:,}", partial(_counted, what, most, guest))
            for what, most in rules.at_most.items()
        ),
        *(
            (f"pool {kind}: below {percent:g} %", partial(_pool, kind, percent, guest))
            for kind, percent in rules.pool_below.items()
        ),
    ]
    found: list[Judged] = []
    for rule, ask in asked:
        try:
            found += ask(rule)
        except BareflowError as error:
            found.append(Judged(rule, NOT_KNOWN, str(error)))
    return tuple(found)


def _words(reach: Reach, function: str = "") -> str:
    name = function or ("every function" if reach.function == EVERY else reach.function)
    return f"{name} reaches O{reach.tier}" + ("" if reach.by_call is None else f" by call {reach.by_call:,}")


def _reached(reach: Reach, guest: _Guest, rule: str) -> Iterator[Judged]:
    names = list(guest.functions)
    if reach.function != EVERY:
        if reach.function not in names:
            there = ", ".join(names) or "none"
            yield Judged(rule, NOT_KNOWN, f"the guest has no such function; there are: {there}")
            return
        names = [reach.function]
    if not names:
        yield Judged(rule, NOT_KNOWN, "the guest has no functions yet")
    for name in names:
        first = next((one for one in guest.swaps.swaps if one.function == name and one.to_level >= reach.tier), None)
        yield Judged(_words(reach, name), *_reach(reach, guest.functions[name], first))


def _reach(reach: Reach, now: _Now, first: Swap | None) -> tuple[str, str]:
    """Verdict and reason."""
    until = reach.by_call
    have = f"O{now.level} after {now.calls:,} calls"
    if first is None and now.level < reach.tier:
        if until is not None and now.calls < until:
            return NOT_KNOWN, f"{have}: it has time until call {until:,}"
        return BROKEN, have
    call = first.call if first is not None else None
    if call is not None:
        return (BROKEN if until is not None and call > until else KEPT), f"at call {call:,}"
    if until is None or now.calls <= until:
        return KEPT, have
    return NOT_KNOWN, f"{have}: at which call it came there is not known, no threshold asked for it"


def _counted(what: str, most: int, guest: _Guest, rule: str) -> list[Judged]:
    counts = {REGRETTED: _regretted, EXCEPTIONS: _exceptions, FINDINGS: _findings, LOST: _lost}
    count, why, known = counts[what](guest)
    verdict = BROKEN if count > most else KEPT if known else NOT_KNOWN
    return [Judged(rule, verdict, f"{count:,}{': ' if why else ''}{why}")]


def _regretted(guest: _Guest) -> tuple[int, str, bool]:
    swaps = guest.swaps
    if swaps.no_worth and swaps.swaps:
        raise BareflowError(swaps.no_worth)
    slower = [one for one in swaps.swaps if one.worth is not None and one.worth.verdict == SLOWER]
    open_ = sum(1 for one in swaps.swaps if one.worth is None or one.worth.verdict == UNKNOWN)
    why = [f"{one.function} O{one.to_level} by {-(one.worth.saved or 0):,.0f} cycles" for one in slower if one.worth]
    if open_:
        why.append(f"{open_:,} of {len(swaps.swaps):,} swaps cannot be judged, too little was measured")
    return len(slower), "; ".join(why), open_ < len(swaps.swaps) or not swaps.swaps


def _exceptions(guest: _Guest) -> tuple[int, str, bool]:
    recorded = sum(part.num_rows for part in guest.trace.parts("type", types=["exception"])) if guest.trace else 0
    try:
        last = guest.subject.kernel.exception()
    except BareflowError as error:
        if not recorded:
            raise
        return recorded, str(error), True
    return max(recorded, last.count), last.name, True


def _findings(guest: _Guest) -> tuple[int, str, bool]:
    found = registry.run(guest.subject)
    bad = [one for one in found.findings if one.bad]
    looked = sum(1 for one in found.checks if one.state in (registry.PASSED, registry.FOUND))
    why = str(bad[0]) if bad else f"{looked:,} of {len(found.checks):,} checks could look"
    return len(bad), why, looked > 0


def _lost(guest: _Guest) -> tuple[int, str, bool]:
    if guest.trace is None:
        raise BareflowError("only a trace has an account of lost events; `bareflow trace record` makes one")
    return guest.trace.lost, "", True


def _pool(kind: str, percent: float, guest: _Guest, rule: str) -> list[Judged]:
    pool = next((one for one in guest.subject.kernel.pools().pools if one.kind == kind), None)
    if pool is None or not pool.size:
        return [Judged(rule, NOT_KNOWN, "the guest has no such pool")]
    most = max(pool.used, pool.peak)
    used = 100 * most / pool.size
    why = f"{used:.1f} %, {most:,} of {pool.size:,} bytes at its peak"
    return [Judged(rule, KEPT if used < percent else BROKEN, why)]
