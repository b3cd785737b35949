"""What ran when? Pictures of the swaps of each function and of the boot.

Each lane is a row of a grid: its name as text, its bars as an SVG whose places are percentages, so that the bars
become narrow on a narrow screen, and the words do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.render.report.markup import Markup, join, tag
from bareflow_gdb.render.report.values import level_class
from bareflow_gdb.render.view import level_name

LANE, BAR = 30, 18
MAX_LANES = 64
MAX_MARKS = 2000
_NEAR_END = 92.0


class Span:
    """The time that a picture shows, in TSC ticks."""

    def __init__(self, start: int, last: int) -> None:
        self.start, self.last = start, last

    def x(self, tsc: int) -> float:
        """Where this moment is in the picture, in percent."""
        whole = max(self.last - self.start, 1)
        return 100 * min(max(tsc - self.start, 0), whole) / whole


def swap_timeline(swaps: Sequence[Swap], clock: Clock) -> Markup:
    """One lane per function, coloured by the tier that ran; from a little before the first swap to the end."""
    functions = list(dict.fromkeys(swap.function for swap in swaps))
    start = min(swap.tsc for swap in swaps)
    last = max(clock.last, max(swap.tsc for swap in swaps))
    span = Span(start - max(1, (last - start) // 40), last)
    rows = [
        _row(name, _lane(name, [swap for swap in swaps if swap.function == name][:MAX_MARKS], span, clock))
        for name in functions[:MAX_LANES]
    ]
    hidden = len(functions) - MAX_LANES
    note = tag("p", f"{hidden:,} more functions are in the table below", class_="quiet") if hidden > 0 else None
    picture = tag("div", rows, _row("", axis(span, clock)), class_="lanes", role="img", aria_label="tiers over time")
    return tag("figure", picture, note)


def _row(name: str, picture: Markup, told: str | None = None) -> Markup:
    beside = tag("span", told, class_="told") if told is not None else None
    return join(tag("span", name, class_="lane"), picture, beside)


def _lane(name: str, swaps: Sequence[Swap], span: Span, clock: Clock) -> Markup:
    top = (LANE - BAR) // 2
    parts: list[Markup] = []
    edges = [span.start, *(swap.tsc for swap in swaps), span.last]
    levels = [swaps[0].from_level, *(swap.to_level for swap in swaps)]
    for begin, end, level in zip(edges, edges[1:], levels, strict=False):
        x, width = span.x(begin), max(span.x(end) - span.x(begin), 0.05)
        parts.append(tag("rect", x=_percent(x), y=top, width=_percent(width), height=BAR, class_=level_class(level)))
    for swap in swaps:
        x_of = _percent(span.x(swap.tsc))
        levels_told = f"{level_name(swap.from_level)} to O{swap.to_level}"
        told = f"{name}: {levels_told} ({swap.reason.replace('_', ' ')}), {clock.moment(swap.tsc)}"
        mark = tag("line", x1=x_of, x2=x_of, y1=top - 4, y2=top + BAR + 4)
        parts.append(tag("g", tag("title", told), mark, class_="mark"))
    return tag("svg", parts, height=LANE)


def axis(span: Span, clock: Clock) -> Markup:
    """Round moments below a picture."""
    parts = [tag("line", x1="0", x2="100%", y1=2, y2=2, class_="axis")]
    for number, (tsc, words) in enumerate(clock.round_moments(span.start, span.last)):
        x = span.x(tsc)
        anchor = "end" if x > _NEAR_END else "start" if x < 100 - _NEAR_END else "middle"
        # Every other one gives way where there is little room.
        spare = " spare" if number % 2 else ""
        parts.append(tag("line", x1=_percent(x), x2=_percent(x), y1=2, y2=8, class_="axis"))
        parts.append(tag("text", words, x=_percent(x), y=23, class_=f"tick{spare}", text_anchor=anchor))
    return tag("svg", parts, height=30)


def boot_timeline(boot: Boot, clock: Clock) -> Markup | None:
    """The stages as bars that end when the stage was reached."""
    reached = [stage for stage in boot.stages if stage.reached and stage.tsc]
    if len(reached) < 2:
        return None
    span = Span(reached[0].tsc, max(stage.tsc for stage in reached))
    rows: list[Markup] = []
    before = reached[0].tsc
    for stage in reached:
        x = span.x(before)
        width = max(span.x(stage.tsc) - x, 0.4)
        bar = tag("rect", x=_percent(min(x, 99.6)), y=4, width=_percent(width), height=12, class_="boot")
        rows.append(_row(stage.name, tag("svg", bar, height=20), clock.moment(stage.tsc)))
        before = stage.tsc
    return tag("figure", tag("div", rows, class_="lanes stages", role="img", aria_label="boot stages over time"))


def _percent(value: float) -> str:
    return f"{value:.2f}%"
