"""The profile's pictures: an area is a share of the cycles, a place is calls and cost, and a name stays text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from bareflow_gdb.guest.code.profiler import Profile, ProfiledFunction
from bareflow_gdb.render.report.profile_picture import MAX_FUNCTIONS, profile_picture

RECT = re.compile(
    r'<svg class="l(?P<tier>\d)" x="(?P<x>[\d.]+)%" y="(?P<y>[\d.]+)" width="(?P<width>[\d.]+)%" height="(?P<height>'
    r'[\d.]+)"><title>(?P<name>\w+):'
)
POINT = re.compile(r'<title>(?P<name>\w+): [^<]*</title><circle cx="(?P<x>[\d.]+)%" cy="(?P<y>[\d.]+)"')


def function(name: str, calls: int, cycles: int, level: int = 0) -> ProfiledFunction:
    return ProfiledFunction(
        id=0, name=name, calls=calls, total_cycles=cycles, min_cycles=1, max_cycles=1, mean_cycles=None, level=level
    )


def drawn(*functions: ProfiledFunction) -> str:
    hottest_first = tuple(sorted(functions, key=lambda one: -one.total_cycles))
    picture = profile_picture(Profile(len(functions), 64, 0, True, None, hottest_first, ()))
    assert picture is not None
    return picture


def test_an_area_is_a_share_of_the_cycles_and_its_colour_the_tier() -> None:
    cycles = {"a": 500, "b": 250, "c": 125, "d": 100, "e": 25}
    found = drawn(*(function(name, 1, count, level=len(name)) for name, count in cycles.items()))
    boxes = {one["name"]: one for one in RECT.finditer(found)}
    for name, count in cycles.items():
        box = boxes[name]
        share = float(box["width"]) / 100 * float(box["height"]) / 260
        assert share == pytest.approx(count / 1000, rel=0.01), name
        assert box["tier"] == "1"


def test_no_area_covers_another() -> None:
    found = drawn(*(function(f"f{n}", 1, 10 + n * n) for n in range(20)))
    boxes = [tuple(float(one[key]) for key in ("x", "y", "width", "height")) for one in RECT.finditer(found)]
    assert len(boxes) == 20
    for index, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[index + 1 :]:
            apart = x + width <= left + 0.02 or left + wide <= x + 0.02
            assert apart or y + height <= top + 0.02 or top + high <= y + 0.02


def test_a_point_stands_at_its_calls_and_its_cost_by_powers_of_ten() -> None:
    found = drawn(function("few", 10, 10_000_000), function("some", 100, 1_000_000), function("many", 1000, 100_000))
    points = {one["name"]: (float(one["x"]), float(one["y"])) for one in POINT.finditer(found)}
    rights = [points[name][0] for name in ("few", "some", "many")]
    downs = [points[name][1] for name in ("few", "some", "many")]
    assert rights[1] - rights[0] == pytest.approx(rights[2] - rights[1], abs=0.02), "ten times the calls"
    assert all(above < below for above, below in pairwise(downs)), "what costs less stands lower"


def test_what_was_not_called_and_what_is_too_much_is_left_out_and_said() -> None:
    assert profile_picture(Profile(1, 64, 0, True, None, (function("idle", 0, 0),), ())) is None
    found = drawn(*(function(f"f{n}", 1, 1000 - n) for n in range(MAX_FUNCTIONS + 3)))
    assert "3 cooler functions are in the table below" in found
    assert len(RECT.findall(found)) == MAX_FUNCTIONS


def test_a_guests_name_is_text_and_its_counts_may_be_anything() -> None:
    most = (1 << 64) - 1
    found = drawn(function("<script>x</script>", 1, most), function("b", most, 1), function("c", 1, 1))
    assert "<script>" not in found and "&lt;script&gt;" in found
    assert "nan" not in found and "inf" not in found
