"""Each number of swaps is told with what it comes from, and nothing is called forgotten that nobody can know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from asking import ask, record_of, text_of
from fake_guest import Bytes, FakeGuest
from stock_guest import StockGuest
from trace_maker import SERIAL, SWAP, Row, batch, make

from bareflow_gdb.analysis.swaps import logged_swaps, trace_swaps
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.tracing.store import Trace

FIRST: Row = (1100, "publish", 0, (0x5000, 0, 0x200010, 1 << 8 | 1 << 3))
"""The publication of a function's first code, which replaces none."""


def of_levels(_: Path) -> Swaps:
    return Guest.attach(StockGuest().build()).kernel().swaps()


def of_the_guest(_: Path) -> Swaps:
    return Guest.attach(FakeGuest().build()).kernel().swaps()


def of_events(folder: Path) -> Swaps:
    return trace_swaps(Trace.open(make(folder / "trace", [batch([SWAP[0], FIRST, *SWAP[1:]])])))


def of_the_log(_: Path) -> Swaps:
    return logged_swaps(SERIAL)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (of_the_guest, "swaps  1 by the guest's own count, 0 of them forgotten"),
        (of_levels, "swaps  2 read off the tiers in memory"),
        (of_events, "swaps  1 by the events of the trace"),
        (of_the_log, "swaps  1 by the serial log"),
    ],
)
def test_a_count_says_what_it_comes_from(tmp_path: Path, source: Callable[[Path], Swaps], said: str) -> None:
    assert text_of("swaps", source(tmp_path)).splitlines()[1].strip() == said


@pytest.mark.parametrize("question", ["jit", "status"])
def test_a_stock_kernel_counts_neither_swaps_nor_versions(question: str) -> None:
    text = text_of(question, record_of(Guest.attach(StockGuest().build()), question))
    assert "2 read off the tiers in memory, 4 tiers compiled" in text and "versions begun" not in text


def test_versions_that_were_not_read_are_not_forgotten() -> None:
    fake = FakeGuest()
    fake.status |= {"swap_count": 500, "version_count": 500}
    swaps = Guest.attach(fake.build(Bytes(cost=1))).kernel().swaps()
    assert swaps.unread and swaps.forgotten is None
    assert "forgotten" not in text_of("swaps", swaps)


def test_where_nothing_counts_swaps_none_is_told() -> None:
    status = record_of(Guest.attach(FakeGuest().build()), "status")
    assert (status.swap_count, status.version_count) == (1, 3)
    booting = FakeGuest()
    booting.root["function_table"] = 0
    text = text_of("status", record_of(Guest.attach(booting.build()), "status"))
    assert "0 published" not in text


@pytest.mark.parametrize("question", ["jit", "status", "profile"])
def test_thresholds_that_no_record_holds_are_told_as_that(question: str) -> None:
    answer = ask(Guest.attach(StockGuest().build()), question)
    assert answer.record.thresholds == (100, 1000, 10000)
    assert any("the default ones are shown" in text for text in answer.unknown)


@pytest.mark.parametrize(
    ("log", "by_default"),
    [
        ("", True),
        ("[RECOMPILE] fibonacci: O0 -> O1\n[Call 77] Threshold reached - recompiling to O1...\n", True),
        (
            "[RECOMPILE] fibonacci: O0 -> O1\n[Call 77] Threshold reached - recompiling to O1...\n"
            "[RECOMPILE] fibonacci: O1 -> O2\n[Call 99] Threshold reached - recompiling to O2...\n",
            False,
        ),
    ],
)
def test_calls_that_the_log_does_not_tell_are_told_as_defaults(log: str, by_default: bool) -> None:
    guest = Guest.attach(StockGuest().build())
    guest.serial_log = lambda: log
    assert any("default thresholds" in text for text in ask(guest, "swaps").unknown) == by_default
