"""A problem that is there again and again is one line with a count, whichever question it is of."""

from __future__ import annotations

from bareflow_gdb.render.fold import folded
from bareflow_gdb.render.text import plain
from bareflow_gdb.render.view import View

GATES = tuple(f"vector {n} (IRQ {n - 32}): its type 0x{n % 32:x} is not that of a gate" for n in range(32, 160))


def test_what_differs_only_in_numbers_is_one_line_with_a_count() -> None:
    assert folded(GATES) == [f"{GATES[0]} (and 127 more like this)"]


def test_a_few_are_shown_as_they_are_and_in_their_order() -> None:
    few = ("the heap is full", *GATES[:3], "the log is lost")
    assert folded(few) == list(few)


def test_the_same_sentence_is_said_once() -> None:
    assert folded(("the heap is full",) * 5) == ["the heap is full"]


def test_what_differs_in_its_words_stays() -> None:
    named = [f"{name} returned 3 last, 4 is expected" for name in ("alpha", "beta", "gamma", "delta", "epsilon")]
    assert folded(named) == named


def test_every_view_is_folded() -> None:
    text = plain(View("", problems=GATES, notes=tuple(f"block 0x{n:08x} was left out" for n in range(99))))
    assert text.splitlines() == [
        f"problem: {GATES[0]} (and 127 more like this)",
        "block 0x00000000 was left out (and 98 more like this)",
    ]
