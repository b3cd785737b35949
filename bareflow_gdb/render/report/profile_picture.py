"""Where do the cycles go? A tree map of them, and calls against cost per call, both coloured by tier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bareflow_gdb.guest.code.profiler import Profile, ProfiledFunction
from bareflow_gdb.render.report.markup import Markup, join, tag
from bareflow_gdb.render.report.values import level_class

MAX_FUNCTIONS = 64
_MAP = (1000.0, 260.0)
_HEIGHT = 260
_ROOM = (2.0, 92.0)
"""Of the width, for the points: percent."""
_NAME = (24.0, 14.0)
"""What a point's name may need: percent of the width of a narrow picture, and pixels."""
_TOP, _BOTTOM = 14.0, 226.0

Box = tuple[float, float, float, float]
"""x, y, width, height."""


def profile_picture(profile: Profile) -> Markup | None:
    """Both pictures; None when no function has been called."""
    called = [one for one in profile.functions if one.total_cycles > 0 and one.calls > 0][:MAX_FUNCTIONS]
    if not called:
        return None
    hidden = sum(1 for one in profile.functions if one.total_cycles > 0 and one.calls > 0) - len(called)
    note = tag("p", f"{hidden:,} cooler functions are in the table below", class_="quiet") if hidden else None
    return join(
        tag("figure", tag("figcaption", "Cycles in all: the larger, the hotter"), _tree_map(called)),
        tag("figure", tag("figcaption", "Calls and cycles per call, by powers of ten"), _scatter(called)),
        note,
    )


def _told(one: ProfiledFunction, total: int) -> str:
    share = 100 * one.total_cycles / total
    return f"{one.name}: {one.total_cycles:,} cycles ({share:.1f} %) in {one.calls:,} calls, O{one.level}"


def _tree_map(functions: Sequence[ProfiledFunction]) -> Markup:
    total = sum(one.total_cycles for one in functions)
    parts = []
    for one, (x, y, width, height) in _split(functions, (0.0, 0.0, *_MAP)):
        inside = (
            tag("title", _told(one, total)),
            tag("rect", width="100%", height="100%", class_="block"),
            tag("text", one.name, x=8, y=20),
            tag("text", f"{100 * one.total_cycles / total:.1f} %", x=8, y=38),
        )
        left, wide = _percent(100 * x / _MAP[0]), _percent(100 * width / _MAP[0])
        parts.append(tag("svg", *inside, class_=level_class(one.level), x=left, y=y, width=wide, height=height))
    return tag("svg", parts, height=_HEIGHT, class_="map", role="img", aria_label="cycles by function")


def _split(functions: Sequence[ProfiledFunction], box: Box) -> Iterator[tuple[ProfiledFunction, Box]]:
    """Each function, the hottest first, with a part of the box that is as large as its part of the cycles.

    The longer side is cut where both parts have about half of the cycles, and so on.
    """
    if len(functions) == 1:
        yield functions[0], box
        return
    total = sum(one.total_cycles for one in functions)
    number, first = 1, functions[0].total_cycles
    while number < len(functions) - 1 and first + functions[number].total_cycles <= total / 2:
        first += functions[number].total_cycles
        number += 1
    x, y, width, height = box
    share = first / total
    if width >= height:
        boxes = (x, y, width * share, height), (x + width * share, y, width * (1 - share), height)
    else:
        boxes = (x, y, width, height * share), (x, y + height * share, width, height * (1 - share))
    yield from _split(functions[:number], boxes[0])
    yield from _split(functions[number:], boxes[1])


def _scatter(functions: Sequence[ProfiledFunction]) -> Markup:
    calls = _Decades([one.calls for one in functions])
    costs = _Decades([one.total_cycles / one.calls for one in functions])
    parts = (*_grid(calls, costs), *_points(functions, calls, costs))
    return tag("svg", parts, height=_HEIGHT, role="img", aria_label="calls and cycles per call of each function")


def _grid(calls: _Decades, costs: _Decades) -> Iterator[Markup]:
    for power in calls.powers:
        x = _percent(calls.place(10.0**power, *_ROOM))
        yield tag("line", x1=x, x2=x, y1=_TOP, y2=_BOTTOM, class_="axis")
        words = _short(power) + (" calls" if power == calls.powers[-1] else "")
        yield tag("text", words, x=x, y=_HEIGHT - 12, class_="tick", text_anchor="middle")
    left, right = (_percent(place) for place in _ROOM)
    for power in costs.powers:
        y = costs.place(10.0**power, _BOTTOM, _TOP)
        yield tag("line", x1=left, x2=right, y1=y, y2=y, class_="axis")
        yield tag("text", _short(power), x=left, y=y - 4, class_="tick")


def _points(functions: Sequence[ProfiledFunction], calls: _Decades, costs: _Decades) -> Iterator[Markup]:
    total = sum(one.total_cycles for one in functions)
    named: list[tuple[float, float]] = []
    for one in functions:
        x, y = calls.place(one.calls, *_ROOM), costs.place(one.total_cycles / one.calls, _BOTTOM, _TOP)
        radius = 4 + 10 * math.sqrt(one.total_cycles / total)
        dot = tag("circle", cx=_percent(x), cy=y, r=radius, class_=level_class(one.level))
        # Of names that would cover each other, the hottest function's is shown; all are told where one points.
        name = None
        if all(abs(x - other) > _NAME[0] or abs(y - line) > _NAME[1] for other, line in named):
            named.append((x, y))
            side, anchor = (-1, "end") if x > sum(_ROOM) / 2 else (1, "start")
            place = tag("text", one.name, x=side * (radius + 4), y=4, text_anchor=anchor, class_="name")
            name = tag("svg", place, x=_percent(x), y=y, class_="beside")
        yield tag("g", tag("title", _told(one, total)), dot, name)


class _Decades:
    """A logarithmic axis from the power of ten below the smallest value to that above the largest."""

    def __init__(self, values: Sequence[float]) -> None:
        low = math.floor(math.log10(max(min(values), 1)))
        high = max(math.ceil(math.log10(max(values))), low + 1)
        self._low, self._high = low, high
        self.powers = range(low, high + 1, max(1, (high - low) // 6))

    def place(self, value: float, begin: float, end: float) -> float:
        """Where the value is between these two."""
        share = (math.log10(max(value, 1)) - self._low) / (self._high - self._low)
        return begin + (end - begin) * min(max(share, 0.0), 1.0)


def _short(power: int) -> str:
    """`10 k` for 10 to the 4th."""
    unit, zeros = divmod(power, 3)
    return f"{10**zeros:,} {('', 'k', 'M', 'G', 'T', 'P', 'E')[min(unit, 6)]}".strip()


def _percent(value: float) -> str:
    return f"{value:.2f}%"
