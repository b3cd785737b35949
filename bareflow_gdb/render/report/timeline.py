"""What ran when? Pictures of the swaps of each function and of the boot, as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def level_class(level: int | None) -> str:
    """The CSS class of a level's colour."""
    return f"l{level}" if level is not None and 0 <= level <= 3 else "lx"


def swap_timeline(swaps: Sequence[Swap], end: int, duration: Callable[[int], str]) -> Markup:
    """One lane per function, coloured by the level that ran; from a little before the first swap to `end`."""
    functions = list(dict.fromkeys(swap.function for swap in swaps))
    shown = functions[:MAX_LANES]
    start = min(swap.tsc for swap in swaps)
    last = max(end, max(swap.tsc for swap in swaps))
    start -= max(1, (last - start) // 40)
    place = _scale(start, last)
    parts: list[Markup] = []
    for lane, name in enumerate(shown):
        own = [swap for swap in swaps if swap.function == name][:MAX_MARKS]
        parts += _lane(lane * LANE, name, own, start, last, place, duration)
    height = len(shown) * LANE
    parts += _axis(height, start, last, place, duration)
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


def _lane(
    top: int,
    name: str,
    swaps: Sequence[Swap],
    start: int,
    last: int,
    place: Callable[[int], float],
    duration: Callable[[int], str],
) -> list[Markup]:
    middle = top + LANE / 2
    parts = [tag("text", name, x=LEFT - 12, y=middle + 4, class_="lane")]
    edges = [start, *(swap.tsc for swap in swaps), last]
    levels = [swaps[0].from_level, *(swap.to_level for swap in swaps)]
    for begin, end, level in zip(edges, edges[1:], levels, strict=False):
        x = place(begin)
        parts.append(
            tag("rect", x=x, y=middle - BAR / 2, width=max(place(end) - x, 0.5), height=BAR, class_=level_class(level))
        )
    for swap in swaps:
        x = place(swap.tsc)
        levels_told = f"{level_name(swap.from_level)} to O{swap.to_level}"
        told = f"{name}: {levels_told} ({swap.reason}), +{duration(swap.tsc - start)}"
        mark = tag("line", x1=x, x2=x, y1=middle - BAR / 2 - 4, y2=middle + BAR / 2 + 4)
        parts.append(tag("g", tag("title", told), mark, class_="mark"))
    return parts


def _axis(
    top: int, start: int, last: int, place: Callable[[int], float], duration: Callable[[int], str]
) -> list[Markup]:
    parts = [tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=top + 4, y2=top + 4, class_="axis")]
    for step in range(6):
        tick = start + (last - start) * step // 5
        x = place(tick)
        anchor = "end" if step == 5 else "middle"
        parts.append(tag("line", x1=x, x2=x, y1=top + 4, y2=top + 9, class_="axis"))
        words = f"+{duration(tick - start)}" if step else "0"
        parts.append(tag("text", words, x=x, y=top + 26, class_="tick", text_anchor=anchor))
    return parts


def _scale(start: int, last: int) -> Callable[[int], float]:
    span = max(last - start, 1)
    return lambda tsc: LEFT + (WIDTH - LEFT - RIGHT) * min(max(tsc - start, 0), span) / span


def boot_timeline(boot: Boot) -> Markup | None:
    """The stages as bars that end when the stage was reached, on the time since stage 1."""
    reached = [stage for stage in boot.stages if stage.reached]
    if len(reached) < 2:
        return None
    first, last = reached[0].tsc, max(stage.tsc for stage in reached)
    place = _scale(first, last)
    parts: list[Markup] = []
    before = first
    for row, stage in enumerate(reached):
        y = row * 20
        begin, end = place(before), place(stage.tsc)
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
