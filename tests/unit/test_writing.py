"""How fast a model wrote, as its tokens' events tell it: rates by tier, swaps, and what any trace may hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from trace_maker import Row, batch, make

from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.analysis.writing import MOST_ANSWERS, STRETCHES, Said, Writing, writing
from bareflow_gdb.cli.main import main
from bareflow_gdb.render.report.writing_picture import writing_picture
from bareflow_gdb.tracing.store import Trace

SECOND = 1_000_000_000
HEADLINE = "How fast the model wrote"


def token(tsc: int, position: int, answered: int = 1, number: int = 7) -> Row:
    return tsc, "token", answered, (number, position)


def published(tsc: int, version: int, level: int) -> Row:
    return tsc, "publish", 0, (0x5000, 0x200000, 0x200000 + version, version << 8 | 2 << 3 | level)


def written(folder: Path, rows: list[Row]) -> Writing | None:
    trace = Trace.open(make(folder / "t", [batch(sorted(rows))], functions=("matmul",)))
    return writing(trace, trace_swaps(trace).swaps)


def answer(count: int, start: int, step: int, first: int = 2) -> list[Row]:
    """A question of `first` tokens, an answer of `count`."""
    read = [token(start + n * step, n, answered=0) for n in range(first)]
    return read + [token(start + n * step, n) for n in range(first, first + count)]


def test_tokens_are_counted_by_the_tier_that_ran_and_a_token_of_two_by_none(tmp_path: Path) -> None:
    slow = [token(n * SECOND // 2, n, answered=0) for n in range(3)]
    fast = [token(SECOND + n * SECOND // 10, 2 + n) for n in range(1, 11)]
    swap = SECOND + SECOND // 20
    found = written(tmp_path, [published(1, 1, 0), *slow, published(swap, 2, 3), *fast])
    assert found is not None
    (told,) = found.told
    assert (told.read, told.written, told.start, told.end) == (3, 10, 0, 2 * SECOND)
    assert [(tier.name, tier.tokens, tier.ticks) for tier in found.tiers] == [
        ("O0", 1, SECOND // 2),
        ("O3", 9, 9 * SECOND // 10),
    ]
    assert [(one.swap.tsc, one.tier) for one in told.changes if one.swap.from_level is not None] == [(swap, "O3")]
    # Of the step from 1.0 to 1.1 s nobody can tell whose it is.
    assert [one.tier for one in told.stretches if one.start <= swap < one.end] == ["changed"]
    assert sum(one.tokens for one in told.stretches) == 12


def test_the_answers_first_token_which_is_only_chosen_makes_no_peak(tmp_path: Path) -> None:
    rows = [token(0, 0, 0), token(1000, 1, 0), token(1001, 2), token(2000, 3)]
    found = written(tmp_path, [published(0, 1, 0), published(0, 2, 1), *rows])
    assert found is not None
    assert [(one.start, one.end, one.tokens) for one in found.told[0].stretches] == [(0, 1001, 2), (1001, 2000, 1)]


def test_each_answer_is_by_itself_and_of_many_the_last_are_shown(tmp_path: Path) -> None:
    rows = [row for n in range(MOST_ANSWERS + 2) for row in answer(500, n * 100_000, 10)]
    found = written(tmp_path, rows)
    assert found is not None
    assert len(found.told) == MOST_ANSWERS and found.told[0].start == 200_000
    assert all(told.written == 500 and len(told.stretches) <= STRETCHES + 1 for told in found.told)
    assert found.left_out == (f"answers before the last {MOST_ANSWERS}",)


def test_a_guest_without_tokens_has_no_such_part(tmp_path: Path) -> None:
    assert written(tmp_path, [published(1, 1, 0)]) is None
    page = tmp_path / "page.html"
    main(["report", str(tmp_path / "t"), "--out", str(page)])
    assert HEADLINE not in page.read_text()


@pytest.mark.parametrize(
    "rows",
    [
        [token(5, 9)],
        [token(5, 0), token(5, 1), token(5, 2)],
        [token((1 << 64) - 1, (1 << 32) - 1, number=(1 << 32) - 1), token(0, 0, answered=65535)],
        [token(7, n % 3, answered=n % 2) for n in range(50)],
    ],
    ids=("one", "no time", "largest numbers", "no order"),
)
def test_whatever_the_events_say_there_is_a_page(rows: list[Row], tmp_path: Path) -> None:
    assert written(tmp_path, rows) is not None
    page = tmp_path / "page.html"
    main(["report", str(tmp_path / "t"), "--out", str(page)])
    text = page.read_text()
    assert HEADLINE in text and "The words are not known" in text
    assert "nan" not in text.partition(HEADLINE)[2].partition("</section>")[0]


@pytest.mark.parametrize("clock", [Clock(SECOND), Clock(0), Clock(SECOND, counts_instructions=True)])
def test_words_are_text_with_a_chip_where_the_tier_changed(clock: Clock, tmp_path: Path) -> None:
    found = written(tmp_path, answer(20, 0, SECOND // 100))
    assert found is not None
    said = (Said(False, "O0", "<b>Once"), Said(True, "O0", " upon"), Said(True, "host", " a time"))
    shown = writing_picture(replace(found, told=(replace(found.told[0], said=said),)), clock)
    assert "<b>" not in shown and "&lt;b&gt;Once" in shown
    words = shown.partition('class="said"')[2].partition("</p>")[0]
    assert words.count("level ") == 2 and words.index("Once") < words.index(" upon") < words.index("the host")
    unit = "100.0 tokens/s" if clock.hz and not clock.counts_instructions else "tokens in a million"
    assert unit in shown
