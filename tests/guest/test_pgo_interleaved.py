"""Versions of a module in one boot, in turn: what differs is told, what is equal is not, what is wrong is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.pgo import interleaved, iterate
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.interleaved import AGAIN
from bareflow_gdb.pgo.measure import Span
from bareflow_gdb.pgo.plan import Choice, Plan, Thresholds
from bareflow_gdb.pgo.profile import CYCLES, Profile

NAMES = ("primes", "strops")


def choice(name: str, level: int) -> Choice:
    return Choice(name, "hot", level, (), 1, 1, "because")


@pytest.fixture(scope="module")
def compiler(image: Path) -> Compiler:
    return Compiler(Firmware.of(image))


def test_each_version_is_measured_in_each_turn_and_equal_ones_once(image: Path, compiler: Compiler) -> None:
    at = {level: {name: compiler.image(choice(name, level)) for name in NAMES} for level in (0, 2)}
    ways = {"O0": at[0], "O2": at[2], "best": {**at[2], "primes": at[0]["primes"]}}
    found = interleaved.compare(image, ways, "O2", turns=4)
    assert set(found) == {*ways, AGAIN}
    for name in NAMES:
        spans = [found[label][name] for label in found]
        assert all(span.low <= span.median <= span.high and 8 <= span.samples <= 32 for span in spans)
        # Two to four times as much, in one boot.
        assert found["O2"][name].better_than(found["O0"][name])
        assert found[AGAIN][name].better_than(found["O0"][name])
        assert found[AGAIN][name] is not found["O2"][name], "another version of equal code"
    assert found["best"]["strops"] is found["O2"]["strops"]
    assert found["best"]["primes"] is found["O0"]["primes"]


def test_an_image_that_the_guest_does_not_take_is_named_with_its_reason(image: Path, compiler: Compiler) -> None:
    good = compiler.image(choice("primes", 2))
    with pytest.raises(BareflowError, match=r"does not take an image of primes: the SHA-256 does not match"):
        interleaved.compare(image, {"O2": {"primes": good[:-1] + bytes([good[-1] ^ 1])}}, "O2", turns=1)


@pytest.mark.parametrize(
    ("best", "noise", "stays"),
    [
        (Span(900, 880, 920, 20), 0.0, True),
        (Span(1100, 1090, 1110, 20), 0.0, False),
        (Span(1020, 1005, 1040, 20), 0.0, True),
        (Span(1100, 1090, 1110, 20), 0.1, True),
    ],
    ids=["faster", "slower", "the intervals meet", "slower than it by less than equal code"],
)
def test_what_is_slower_by_more_than_equal_code_is_put_back(image: Path, best: Span, noise: float, stays: bool) -> None:
    reference = Span(1000, 980, 1010, 20)
    with iterate.Workshop(Firmware.of(image)) as workshop:
        plan = Plan(CYCLES, "a test", Thresholds(), (choice("primes", 3),))
        profile = Profile(CYCLES, "a test", ())
        search = iterate._Search(workshop, plan, profile, [choice("primes", 2)], {"primes": 1000}, 0)
        search.best["primes"] = choice("primes", 3)
        told = search.put_back({"O2": {"primes": reference}, "best": {"primes": best}}, {"primes": noise})
    assert search.best["primes"].level == (3 if stays else 2)
    assert told == (() if stays else ("primes (+10.0% cycles at O3) to O2",))
