"""How fast was each answer written? Tokens a second over time, coloured by tier, with the swaps and the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bareflow_gdb.analysis.clock import Clock, round_up
from bareflow_gdb.analysis.writing import CHANGED, UNKNOWN, Change, Said, Told, Writing
from bareflow_gdb.guest.model.inference import MATRIX_PRODUCT
from bareflow_gdb.render.report.markup import Child, Markup, join, table, tag
from bareflow_gdb.render.report.timeline import Span, axis
from bareflow_gdb.render.view import level_name, spoken

_HEIGHT = 200
_TOP, _BOTTOM = 22.0, 176.0
_LINES = 4
_ROOM = 10.0
"""That the name of a swap needs, in percent of a narrow picture."""
_NAMES = {"host": "the host's code", CHANGED: "swapped meanwhile", UNKNOWN: "not known"}
_CLASSES = {"O0": "l0", "O1": "l1", "O2": "l2", "O3": "l3", "host": "host"}


def writing_picture(found: Writing, clock: Clock) -> Markup:
    """A picture and the words of each answer, then the tiers of all."""
    rows = [(_chip(tier.name), tier.tokens, f"{_rate(tier.tokens, tier.ticks, clock):,.1f}") for tier in found.tiers]
    notes = []
    if found.no_words:
        notes.append(f"The words are not known: {found.no_words}.")
    if found.left_out:
        notes.append(f"Not shown: {'; '.join(dict.fromkeys(found.left_out))}.")
    return join(
        [_answer(told, clock) for told in found.told],
        table(f"{MATRIX_PRODUCT} at|>tokens|>{_unit(clock)}", rows, "Too few tokens for a rate."),
        tag("p", "A token in which the tier changed counts for none.", class_="quiet"),
        [tag("p", note, class_="quiet") for note in notes],
    )


def _unit(clock: Clock) -> str:
    return "tokens/s" if not _counted(clock) else f"tokens in a million {clock.scale[1]}"


def _counted(clock: Clock) -> bool:
    """No time, but cycles of an unknown rate or instructions."""
    return clock.scale[0] == 1


def _rate(tokens: int, ticks: int, clock: Clock) -> float:
    return tokens * (1_000_000 if _counted(clock) else 1000 * clock.scale[0]) / max(ticks, 1)


def _answer(told: Told, clock: Clock) -> Markup:
    took = clock.duration(told.end - told.start)
    words = f"{told.read:,} tokens read, {told.written:,} written in {took}: {_unit(clock)} over time, and each swap"
    return join(
        tag("figure", tag("figcaption", words), *_picture(told, clock)) if told.stretches else tag("p", words),
        tag("p", *_words(told.said), class_="said") if told.said else None,
    )


def _picture(told: Told, clock: Clock) -> Iterator[Markup]:
    span = Span(told.start, told.end)
    rates = [_rate(one.tokens, one.end - one.start, clock) for one in told.stretches]
    step = round_up(max(rates) / _LINES)
    top = max(max(rates), step)
    parts: list[Markup] = []
    for one, rate in zip(told.stretches, rates, strict=True):
        x, y = span.x(one.start), min(_y(rate, top), _BOTTOM - 1)
        title = f"{rate:,.1f} {_unit(clock)}, {MATRIX_PRODUCT}: {_name(one.tier)}; {one.tokens:,} tokens"
        width = max(span.x(one.end) - x, 0.05)
        bar = tag("rect", x=_percent(x), y=y, width=_percent(width), height=_BOTTOM - y, class_=_class(one.tier))
        parts.append(tag("g", tag("title", f"{title} from {clock.moment(one.start)}"), bar))
    parts += (*_grid(step, top), *_marks(told.changes, span, clock))
    yield tag("svg", parts, height=_HEIGHT, class_="rates", role="img", aria_label=f"{_unit(clock)} over time")
    yield axis(span, clock)


def _y(rate: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * rate / top


def _grid(step: float, top: float) -> Iterator[Markup]:
    for number in range(1, int(top / step) + 1):
        y = _y(number * step, top)
        yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_="axis")
        yield tag("text", f"{number * step:,.4g}", x=0, y=y - 3, class_="tick")


def _marks(changes: Sequence[Change], span: Span, clock: Clock) -> Iterator[Markup]:
    """Those of the matrix product through the whole height, with a name where there is room; others below."""
    sides = iter(_sides([span.x(one.swap.tsc) for one in changes if one.swap.function == MATRIX_PRODUCT]))
    for one in changes:
        swap, x = one.swap, _percent(span.x(one.swap.tsc))
        own = swap.function == MATRIX_PRODUCT
        way = f"{level_name(swap.from_level)} to {_name(one.tier)}"
        title = f"{swap.function}: {way} ({spoken(swap.reason)}), {clock.moment(swap.tsc)}"
        y1, y2 = (_TOP - 8, _BOTTOM + 8) if own else (_BOTTOM + 4, _BOTTOM + 14)
        side = next(sides) if own else None
        name = tag("text", one.tier, x=x, y=11, text_anchor=side, class_="name") if side else None
        yield tag("g", tag("title", title), tag("line", x1=x, x2=x, y1=y1, y2=y2), name, class_="mark")


def _sides(places: Sequence[float]) -> Iterator[str | None]:
    """On which side of each mark its name covers no other, as SVG's text-anchor; None = on neither."""
    taken = 0.0
    for x, following in pairwise([*places, 100.0]):
        if x >= taken and x + _ROOM <= following:
            taken = x + _ROOM
            yield "start"
        elif x - _ROOM >= taken:
            taken = x
            yield "end"
        else:
            yield None


def _words(said: Sequence[Said]) -> Iterator[Child]:
    """What was read and written, with a chip wherever the tier of the matrix product changed."""
    before = None
    for one in said:
        if one.tier != before:
            yield _chip(one.tier)
        before = one.tier
        yield tag("span", one.text, class_=None if one.answered else "quiet")


def _chip(tier: str) -> Markup:
    return tag("span", _name(tier), class_=f"level {_class(tier)}")


def _name(tier: str) -> str:
    return _NAMES.get(tier, tier)


def _class(tier: str) -> str:
    return _CLASSES.get(tier, "lx")


def _percent(value: float) -> str:
    return f"{value:.2f}%"
