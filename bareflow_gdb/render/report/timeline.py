"""What ran when? Pictures of the swaps of each function and of the boot, as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.render.report.markup import Markup, tag
from bareflow_gdb.render.view import level_name

WIDTH = 1000
LEFT = 150
RIGHT = 20
LANE = 34
BAR = 18
MAX_LANES = 64
MAX_MARKS = 2000


@dataclass(frozen=True)
class _Span:
    """The time that a picture shows, in TSC ticks, and how its ticks are told."""

    start: int
    last: int
    duration: Callable[[int], str]

    def x(self, tsc: int) -> float:
        """Where this moment is in the picture."""
        whole = max(self.last - self.start, 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(tsc - self.start, 0), whole) / whole


def level_class(level: int | None) -> str:
    """The CSS class of a level's colour."""
    return f"l{level}" if level is not None and 0 <= level <= 3 else "lx"


def swap_timeline(swaps: Sequence[Swap], end: int, duration: Callable[[int], str]) -> Markup:
    """One lane per function, coloured by the level that ran; from a little before the first swap to `end`."""
    functions = list(dict.fromkeys(swap.function for swap in swaps))
    shown = functions[:MAX_LANES]
    start = min(swap.tsc for swap in swaps)
    last = max(end, max(swap.tsc for swap in swaps))
    span = _Span(start - max(1, (last - start) // 40), last, duration)
    parts: list[Markup] = []
    for lane, name in enumerate(shown):
        own = [swap for swap in swaps if swap.function == name][:MAX_MARKS]
        parts += _lane(lane * LANE, name, own, span)
    height = len(shown) * LANE
    parts += _axis(height, span)
    picture = tag(
        "svg",
        parts,
        viewBox=f"0 0 {WIDTH} {height + 34}",
        role="img",
        aria_label="levels of each function over time",
        class_="timeline",
    )
    hidden = len(functions) - len(shown)
    note = tag("p", f"{hidden} more functions are in the table below", class_="quiet") if hidden else None
    return tag("figure", picture, note)


def _lane(top: int, name: str, swaps: Sequence[Swap], span: _Span) -> list[Markup]:
    middle = top + LANE / 2
    parts = [tag("text", name, x=LEFT - 12, y=middle + 4, class_="lane")]
    edges = [span.start, *(swap.tsc for swap in swaps), span.last]
    levels = [swaps[0].from_level, *(swap.to_level for swap in swaps)]
    for begin, end, level in zip(edges, edges[1:], levels, strict=False):
        x, width = span.x(begin), max(span.x(end) - span.x(begin), 0.5)
        parts.append(tag("rect", x=x, y=middle - BAR / 2, width=width, height=BAR, class_=level_class(level)))
    for swap in swaps:
        x = span.x(swap.tsc)
        levels_told = f"{level_name(swap.from_level)} to O{swap.to_level}"
        told = f"{name}: {levels_told} ({swap.reason.replace('_', ' ')}), +{span.duration(swap.tsc - span.start)}"
        mark = tag("line", x1=x, x2=x, y1=middle - BAR / 2 - 4, y2=middle + BAR / 2 + 4)
        parts.append(tag("g", tag("title", told), mark, class_="mark"))
    return parts


def _axis(top: int, span: _Span) -> list[Markup]:
    parts = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=top + 4, y2=top + 4, class_="axis")]
    for step in range(6):
        ticks = (span.last - span.start) * step // 5
        x = span.x(span.start + ticks)
        anchor = "end" if step == 5 else "middle"
        parts.append(tag("line", x1=x, x2=x, y1=top + 4, y2=top + 9, class_="axis"))
        words = f"+{span.duration(ticks)}" if step else "0"
        parts.append(tag("text", words, x=x, y=top + 26, class_="tick", text_anchor=anchor))
    return parts


def boot_timeline(boot: Boot) -> Markup | None:
    """The stages as bars that end when the stage was reached, on the time since stage 1."""
    reached = [stage for stage in boot.stages if stage.reached]
    if len(reached) < 2:
        return None
    first, last = reached[0].tsc, max(stage.tsc for stage in reached)
    span = _Span(first, last, str)
    parts: list[Markup] = []
    before = first
    for row, stage in enumerate(reached):
        y = row * 20
        begin, end = span.x(before), span.x(stage.tsc)
        told = f"+{stage.ms:,.3f} ms" if stage.ms is not None else f"+{stage.tsc - first:,} cycles"
        parts += [
            tag("text", stage.name, x=LEFT - 12, y=y + 14, class_="lane"),
            tag("rect", x=begin, y=y + 4, width=max(end - begin, 1.5), height=12, class_="boot"),
            _beside(told, begin, end, y + 14),
        ]
        before = stage.tsc
    height = len(reached) * 20 + 4
    return tag(
        "figure", tag("svg", parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label="boot stages over time")
    )


def _beside(words: str, begin: float, end: float, y: float) -> Markup:
    """A bar's words: behind it, or inside its end when there is no room behind it."""
    if end < WIDTH - 160:
        return tag("text", words, x=end + 6, y=y, class_="tick")
    if end - begin > 160:
        return tag("text", words, x=end - 6, y=y, class_="inside", text_anchor="end")
    return tag("text", words, x=begin - 6, y=y, class_="tick", text_anchor="end")
