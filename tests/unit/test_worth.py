"""What a swap was worth: intervals that mean what they say, and no verdict where there is none."""

from __future__ import annotations

import random

import pytest

from bareflow_gdb.guest.code.costs import VersionCost
from bareflow_gdb.guest.code.worth import EQUAL, FASTER, NOT_YET, PAID, SLOWER, UNKNOWN, judge, shift


def cost(cycles: list[int], calls: int | None = 1000) -> VersionCost:
    return VersionCost(calls, 1, tuple(cycles))


SLOW, FAST = [1000 + n for n in range(32)], [400 + n for n in range(32)]


@pytest.mark.parametrize(
    ("made", "calls", "verdict", "even", "net"),
    [
        (60_000, 1000, PAID, 100, 540_000),
        (600_000, 1000, PAID, 1000, 0),
        (600_001, 1000, NOT_YET, 1001, -1),
        (None, 1000, FASTER, None, None),
        (60_000, None, FASTER, 100, None),
    ],
)
def test_a_faster_version_pays_after_so_many_calls(
    made: int | None, calls: int | None, verdict: str, even: int | None, net: int | None
) -> None:
    worth = judge(cost(SLOW), cost(FAST, calls), made)
    assert (worth.verdict, worth.saved, worth.break_even, worth.net) == (verdict, 600, even, net)


def test_a_slower_version_is_regretted_and_never_pays() -> None:
    worth = judge(cost(FAST), cost(SLOW, 500), 1000)
    assert (worth.verdict, worth.saved, worth.break_even, worth.net) == (SLOWER, -600, None, -301_000)


def test_single_calls_that_the_host_held_up_do_not_count() -> None:
    worth = judge(cost(SLOW), cost([*FAST[:29], 10**9, 2 * 10**9, 2**32 - 1]), 60_000)
    assert worth.verdict == PAID and worth.saved == pytest.approx(600, abs=20)
    assert worth.after is not None and worth.after.high is not None and worth.after.high < 500


@pytest.mark.parametrize("short", [0, 1, 7])
def test_too_few_calls_are_no_verdict(short: int) -> None:
    for sides in ((cost(SLOW[:short]), cost(FAST)), (cost(SLOW), cost(FAST[:short]))):
        worth = judge(*sides, 1000)
        assert worth.verdict == UNKNOWN and worth.saved is None and worth.net is None
        assert f"{short} call" in worth.why and "fewer than 8" in worth.why
    assert judge(None, cost(FAST), None).why == "the kernel has no record of the version that ran before it"


def test_intervals_hold_what_they_should_in_19_of_20_cases() -> None:
    chance = random.Random(20260101)

    def drawn(shift: int) -> list[int]:
        return [int(1000 * chance.lognormvariate(0, 0.5)) + shift for _ in range(24)]

    rounds, median_in, shift_in = 1000, 0, 0
    for _ in range(rounds):
        before, after = drawn(300), drawn(0)
        worth = judge(cost(before), cost(after), None)
        assert worth.after is not None and worth.after.low is not None and worth.after.high is not None
        _, low, high = shift(before, after)
        median_in += worth.after.low <= 1000 <= worth.after.high
        shift_in += low <= 300 <= high
        assert worth.saved_low is not None and worth.saved_high is not None
        assert worth.saved_low < low and high < worth.saved_high
    assert min(median_in, shift_in) >= 0.93 * rounds and shift_in <= 0.98 * rounds


@pytest.mark.parametrize(("by", "verdict"), [(-60, EQUAL), (-90, EQUAL), (90, EQUAL), (-200, SLOWER), (200, FASTER)])
def test_a_difference_within_the_noise_of_a_busy_host_is_none(by: int, verdict: str) -> None:
    assert judge(cost(SLOW), cost([cycles - by for cycles in SLOW]), None).verdict == verdict


def test_a_host_that_became_slower_meanwhile_is_no_regret() -> None:
    slower = [1000 + n for n in range(16)] + [1400 + n for n in range(16)]
    for sides in ((slower, [1400 + n for n in range(32)]), ([1000 + n for n in range(32)], slower)):
        assert judge(*map(cost, sides), 1000).verdict == EQUAL
