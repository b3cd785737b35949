"""What does the page's script draw? The activity as data, in the unit of the page, and the elements that it works with.

The script is the same in every report. What a guest named is data in an element that no browser executes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bareflow_gdb.analysis.activity import Activity, Lane, PoolHistory
from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.foreign import printable
from bareflow_gdb.render.report.markup import Markup, join, tag

DATA = "activity-data"
_LONGEST = 200


def script() -> str:
    """What runs in the page: its digest is in the page's policy."""
    return Path(__file__).with_name("report.js").read_text(encoding="utf-8")


def picture(found: Activity, clock: Clock) -> Markup:
    """The picture's place, its controls, and its data."""
    buttons = [
        tag("button", text, type="button", data_do=what, title=title)
        for text, what, title in (
            ("-", "out", "zoom out (key -)"),
            ("+", "in", "zoom in (key +)"),
            ("all", "whole", "the whole time (key 0)"),
            ("◂", "before", "the hit before"),
            ("▸", "next", "the next hit (Enter)"),
        )
    ]
    search = tag("input", type="search", placeholder="find a function, a tier, a line", aria_label="find", id="find")
    hits = tag("output", "", id="hits", class_="quiet")
    canvas = tag(
        "canvas",
        id="activity",
        tabindex="0",
        role="img",
        aria_label="activity over time: wheel or pinch zooms, drag moves",
    )
    told = tag("p", "Wheel or pinch zooms, drag moves; point at something to read it.", id="told", class_="quiet")
    left_out = tag("p", f"Not shown: {'; '.join(found.left_out)}.", class_="quiet") if found.left_out else None
    slider = None
    if found.pools:
        at = tag("input", type="range", min="0", max="1000", value="1000", id="moment", aria_label="moment")
        slider = join(
            tag("h3", "Pools at a moment"),
            tag("div", at, tag("output", "", id="when"), class_="controls"),
            tag("canvas", id="pools", role="img", aria_label="blocks in the pools at that moment"),
            tag("p", "", id="block", class_="quiet"),
        )
    # In JSON `<` is only in strings, and there it may be written so.
    data = Markup(json.dumps(_data(found, clock)).replace("<", "\\u003c"))
    return join(
        tag("noscript", tag("p", "This picture needs scripts; all it shows is in the tables too.", class_="quiet")),
        tag("div", buttons, search, hits, class_="controls"),
        canvas,
        told,
        left_out,
        slider,
        tag("script", data, type="application/json", id=DATA),
    )


def _data(found: Activity, clock: Clock) -> dict[str, Any]:
    per_unit, unit = clock.scale

    def when(tsc: int) -> float:
        return round((tsc - clock.zero) / per_unit, 6)

    def lane(one: Lane) -> dict[str, Any]:
        return {
            "name": _text(one.name),
            "spans": [[when(span.start), when(span.end), _text(span.label), span.kind] for span in one.spans],
            "marks": [[when(mark.tsc), _text(mark.label), mark.kind] for mark in one.marks],
            "counts": one.counts,
        }

    def pool(one: PoolHistory) -> dict[str, Any]:
        blocks = [
            [when(stay.start), None if stay.end is None else when(stay.end), stay.address, stay.size, _text(stay.owner)]
            for stay in one.blocks
        ]
        return {"name": _text(one.kind), "base": one.base, "size": one.size, "blocks": blocks}

    return {
        "unit": unit,
        "start": when(found.start),
        "last": when(found.last),
        "lanes": [lane(one) for one in found.lanes],
        "pools": [pool(one) for one in found.pools],
    }


def _text(name: str) -> str:
    return printable(name)[:_LONGEST]
