"""How fast did a language model write, and with which code of its matrix product? Of the `token` events of a trace.

Every part is bounded, so that any trace gives a page that opens: `Writing.left_out` says what is not shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

from bareflow_gdb.analysis.swaps import last_tables
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.guest.model.inference import MATRIX_PRODUCT, token_words
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.store import Trace

MOST_TOKENS = 20_000
"""The last ones."""
MOST_ANSWERS = 6
"""The last ones."""
MOST_SWAPS = 500
"""Of an answer, the first ones."""
STRETCHES = 80
"""Of equal time, about, in which the tokens of an answer are counted: more where the code changed."""
CHANGED, UNKNOWN = "changed", "unknown"
"""Tiers beside "O0" to "O3" and "host": the code was swapped meanwhile, or nothing tells which it was."""


@dataclass(frozen=True)
class Stretch:
    """Some tokens, one after the other, with the same code; times are TSC."""

    start: int
    end: int
    """Later than `start`."""
    tokens: int
    tier: str


@dataclass(frozen=True)
class Said:
    """Words that were computed with the same code."""

    answered: bool
    """False: the question's own, which the model reads."""
    tier: str
    text: str


@dataclass(frozen=True)
class Change:
    """A swap, and the tier that it led to."""

    swap: Swap
    tier: str


@dataclass(frozen=True)
class Told:
    """A question and its answer."""

    start: int
    """TSC of the first token."""
    end: int
    read: int
    """Tokens of the question."""
    written: int
    """Tokens of the answer."""
    stretches: tuple[Stretch, ...]
    changes: tuple[Change, ...]
    """Of all functions, meanwhile."""
    said: tuple[Said, ...]
    """Empty where the tokens' words are not known."""


@dataclass(frozen=True)
class Tier:
    """What came of one tier in all that is shown; a token in which it changed counts for none."""

    name: str
    tokens: int
    ticks: int


@dataclass(frozen=True)
class Writing:
    """All answers that are shown."""

    told: tuple[Told, ...]
    tiers: tuple[Tier, ...]
    no_words: str
    """Why the words are not known; "" = they are."""
    left_out: tuple[str, ...]


class _Token(NamedTuple):
    tsc: int
    answered: bool
    token: int
    position: int


class _Step(NamedTuple):
    """From one token to the next."""

    start: int
    end: int
    tokens: int
    tier: str
    only_chosen: bool
    """The answer's first token costs next to nothing: the question's last one has computed it."""


def writing(trace: Trace, swaps: Sequence[Swap]) -> Writing | None:
    """`swaps`: of the trace. None when no token was told."""
    events = trace.last(MOST_TOKENS + 1, "token")
    if not len(events):
        return None
    left_out = [f"tokens before the last {MOST_TOKENS:,}"] if len(events) > MOST_TOKENS else []
    answers = list(_answers([_token(event) for event in decode(events[-MOST_TOKENS:])]))
    if len(answers) > MOST_ANSWERS:
        left_out.append(f"answers before the last {MOST_ANSWERS}")
    words, no_words = _words(trace)
    changes, level = _changes(trace, swaps)
    tier_at = _tiers([one for one in changes if one.swap.function == MATRIX_PRODUCT], level)
    shown = [(tokens, _steps(tokens, tier_at)) for tokens in answers[-MOST_ANSWERS:]]
    told = tuple(_told(tokens, steps, changes, tier_at, words, left_out) for tokens, steps in shown)
    return Writing(told, _by_tier([step for _, steps in shown for step in steps]), no_words, tuple(left_out))


def _token(event: Event) -> _Token:
    fields = event.fields()
    return _Token(event.tsc, fields["answered"] != 0, fields["token"], fields["position"])


def _answers(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """Each question with its answer: its positions rise."""
    current: list[_Token] = []
    for token in tokens:
        before = current[-1] if current else token
        if current and (token.position <= before.position or before.answered > token.answered):
            yield current
            current = []
        current.append(token)
    if current:
        yield current


def _words(trace: Trace) -> tuple[Callable[[Sequence[int]], str] | None, str]:
    try:
        return token_words(trace.memory()), ""
    except BareflowError as error:
        return None, str(error)


def _changes(trace: Trace, swaps: Sequence[Swap]) -> tuple[list[Change], int | None]:
    """The swaps in the order of time, and the matrix product's level at the end."""
    tables = last_tables(trace)[0]
    by_host = {one.number for one in tables.versions if one.provider == "host"} if tables is not None else set()
    functions = tables.functions if tables is not None else []
    level = next((function.level for function in functions if function.name == MATRIX_PRODUCT), None)
    in_order = sorted((swap for swap in swaps if swap.tsc), key=lambda swap: swap.tsc)
    return [Change(swap, "host" if swap.to_version in by_host else _name(swap.to_level)) for swap in in_order], level


def _tiers(changes: Sequence[Change], level: int | None) -> Callable[[int], tuple[int, str]]:
    """Which code of the matrix product ran at a moment: how many changes were before it, and its tier."""
    moments = [one.swap.tsc for one in changes]
    names = [_name(changes[0].swap.from_level if changes else level), *(one.tier for one in changes)]

    def at(tsc: int) -> tuple[int, str]:
        place = bisect_right(moments, tsc)
        return place, names[place]

    return at


def _name(level: int | None) -> str:
    return UNKNOWN if level is None or not 0 <= level <= 3 else f"O{level}"


def _steps(tokens: Sequence[_Token], tier_at: Callable[[int], tuple[int, str]]) -> list[_Step]:
    steps = []
    for before, now in pairwise(tokens):
        (one, tier), (other, _) = tier_at(before.tsc), tier_at(now.tsc)
        only_chosen = now.answered > before.answered
        count = now.position - before.position
        steps.append(_Step(before.tsc, now.tsc, count, tier if one == other else CHANGED, only_chosen))
    return steps


def _stretches(steps: Sequence[_Step]) -> Iterator[Stretch]:
    """Neighbours of one tier together, until they have lasted long enough."""
    width = (steps[-1].end - steps[0].start) / STRETCHES if steps else 0
    current: Stretch | None = None
    for step in steps:
        if (
            current is not None
            and current.tier == step.tier
            and (current.end - current.start < width or step.only_chosen)
        ):
            current = Stretch(current.start, step.end, current.tokens + step.tokens, step.tier)
            continue
        if current is not None and current.end > current.start:
            yield current
        current = Stretch(step.start, step.end, step.tokens, step.tier)
    if current is not None and current.end > current.start:
        yield current


def _by_tier(steps: Sequence[_Step]) -> tuple[Tier, ...]:
    found: dict[str, Tier] = {}
    for step in steps:
        before = found.get(step.tier, Tier(step.tier, 0, 0))
        found[step.tier] = Tier(step.tier, before.tokens + step.tokens, before.ticks + step.end - step.start)
    return tuple(tier for tier in found.values() if tier.name != CHANGED and tier.ticks > 0)


def _told(
    tokens: Sequence[_Token],
    steps: Sequence[_Step],
    changes: Sequence[Change],
    tier_at: Callable[[int], tuple[int, str]],
    words: Callable[[Sequence[int]], str] | None,
    left_out: list[str],
) -> Told:
    start, end = tokens[0].tsc, tokens[-1].tsc
    meanwhile = [one for one in changes if start <= one.swap.tsc <= end]
    if len(meanwhile) > MOST_SWAPS:
        left_out.append(f"swaps of an answer after the first {MOST_SWAPS:,}")
    runs = groupby(tokens, key=lambda token: (token.answered, tier_at(token.tsc)))
    said = (Said(answered, tier, words([token.token for token in run])) for (answered, (_, tier)), run in runs if words)
    written = sum(1 for token in tokens if token.answered)
    return Told(
        start=start,
        end=end,
        read=len(tokens) - written,
        written=written,
        stretches=tuple(_stretches(steps)),
        changes=tuple(meanwhile[:MOST_SWAPS]),
        said=tuple(said),
    )
