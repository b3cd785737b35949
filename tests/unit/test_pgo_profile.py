"""A profile is read whole or refused with one sentence; the plan follows from what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.pgo import plan, profile
from bareflow_gdb.pgo.arguments import Arguments, Constants
from bareflow_gdb.pgo.counts import FunctionCounts
from bareflow_gdb.pgo.plan import Thresholds
from bareflow_gdb.pgo.profile import Cost, Profile
from bareflow_gdb.render.pgo import profile_view
from bareflow_gdb.render.text import show

LIMITS = Thresholds()
COUNTED = (FunctionCounts("modules/a.c;step", 7, (3, 0, 1)),)
CALLED = Arguments({(16, -1): 150, (16, 7): 40}, 10)


def cost(name: str, calls: int, each: int) -> Cost:
    return Cost(name, calls, calls * each, each, each, 100, "ab" * 32)


def row(name: str = "primes", calls: int = 1, total: int = 500, **more: Any) -> dict[str, Any]:
    counts = {"calls": calls, "total_cycles": total, "min_cycles": total // calls, "max_cycles": total}
    return {"name": name, **counts, "code_size": 9, "loaded": True, **more}


def document(*rows: Any, **more: Any) -> str:
    return json.dumps({"format_version": "1.0", "num_modules": len(rows), "modules": rows, **more})


def printed(body: str) -> str:
    return f"[serial] init ok\n\n=== PROFILING DATA EXPORT ===\n--- BEGIN JSON ---\n{body}\n--- END JSON ---\n"


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    counted = (replace(cost("b", 1, 9), counters=COUNTED), replace(cost("c", 200, 9), arguments=CALLED))
    made = Profile(profile.INSTRUCTIONS, "COM1, modules", (cost("a", 3, 70), *counted))
    made.write(tmp_path / "p.json")
    assert profile.read(tmp_path / "p.json") == made


def test_the_guests_own_json_and_a_log_with_it_are_profiles(tmp_path: Path) -> None:
    for number, text in enumerate((document(row()), printed(document(row())))):
        path = tmp_path / f"{number}"
        path.write_text(text)
        assert [one.name for one in profile.read(path).costs] == ["primes"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (document(row())[:-30], "not all of one"),
        (printed(document(row(), row("sum")))[:200], "not whole"),
        (printed(document(row(), num_modules=2)), "not whole"),
        ("[boot] LBA boot\n--- BEGIN JSON ---\n{}\n", "holds no profile of the modules"),
        ("\x7fELF" + "\0" * 64, "is no profile"),
        ("[1, 2]", "no profile of format 1.0"),
        (document(row(), format_version="2.0"), "no profile of format 1.0"),
        (document(), "no module was called"),
        (document(row(calls=1, total=0, name="../etc/passwd")), "names no module"),
        (document(row(), row()), "has primes twice"),
        (document(row(total_cycles="many")), "has no counts"),
        (document(row(total_cycles=-5)), "has no counts"),
        (document(row(min_cycles=900)), "contradict one another"),
        (document(row(), num_modules=12), "has 1 modules and says 12"),
        (document(row(), unit="parsecs"), "neither instructions nor cycles"),
        (document(row(counters=[{"function": "a\n", "hash": "1", "counts": []}])), "damaged"),
        (document(row(arguments=[])), "arguments in .* are damaged"),
        (document(row(arguments={"pairs": [[1, 1 << 31, 3]], "others": 0})), "is not .a, b, calls."),
        (document(row(arguments={"pairs": [[1, 2, 0]], "others": 0})), "calls with 1 and 2 in .* are damaged"),
        (document(row(arguments={"pairs": [[1, 2, 3]] * 2, "others": 0})), "calls with 1 and 2 in .* are damaged"),
        (document(row(arguments={"pairs": [[1, n, 3] for n in range(9)], "others": 0})), "are damaged"),
        (document("primes"), "names no module"),
        ("[" * 100_000, "nests too deep"),
    ],
)
def test_what_is_no_whole_profile_is_refused_with_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "profile"
    path.write_text(text)
    with pytest.raises(BadData, match=why) as refused:
        profile.read(path)
    assert "`bareflow pgo profile" in str(refused.value) or "--of" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_classes_follow_from_calls_and_cost_with_the_reason() -> None:
    costs = (cost("warm", 5, 100), cost("cold", 0, 0), cost("called", 100, 10), cost("costly", 10, 10_000))
    made = plan.make(Profile("instructions", "x", (*costs, cost("ultra", 10, 100_000))), LIMITS)
    assert [(one.name, one.kind, one.level) for one in made.choices] == [
        ("ultra", "ultra-hot", 3),
        ("costly", "hot", 2),
        ("called", "hot", 2),
        ("warm", "warm", 1),
        ("cold", "cold", 0),
    ]
    assert made.choices[0].reason == "1,000,000 instructions ≥ 1,000,000"
    assert made.choices[2].reason == "100 calls ≥ 100"
    assert made.choices[3].reason == "5 calls < 100, 500 instructions < 100,000"


@pytest.mark.parametrize(
    ("before", "after"),
    [((1, 99_999), (1, 100_000)), ((99, 1), (100, 1)), ((1, 999_999), (1, 1_000_000)), ((999, 1), (1000, 1))],
)
def test_changing_one_modules_figures_changes_its_class_at_the_threshold(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    def made(figures: tuple[int, int]) -> dict[str, int]:
        found = plan.make(Profile("cycles", "x", (cost("other", 2, 2), cost("primes", *figures))), LIMITS)
        return {one.name: one.level for one in found.choices}

    assert made(after) == {**made(before), "primes": made(before)["primes"] + 1}


def test_thresholds_are_options_and_none_is_0() -> None:
    found = Profile("cycles", "x", (cost("primes", 2, 2),))
    assert plan.make(found, Thresholds(calls=2, factor=1)).choices[0].kind == plan.ULTRA
    with pytest.raises(UsageError, match="less than 1"):
        Thresholds(calls=0)


def test_a_plan_is_read_as_it_was_written_with_its_counts(tmp_path: Path) -> None:
    costs = (replace(cost("a", 200, 70), counters=COUNTED), replace(cost("b", 1, 9), counters=COUNTED))
    made = plan.make(Profile("cycles", "COM1", costs), LIMITS, counters=True)
    assert [one.how for one in made.choices] == ["O2+counters", "O1"], "what is not hot is compiled by its level"
    made.write(tmp_path / "plan.json")
    assert plan.read(tmp_path / "plan.json") == made


def test_hot_modules_are_made_for_the_arguments_of_most_calls(tmp_path: Path) -> None:
    costs = (replace(cost("a", 200, 70), arguments=CALLED), replace(cost("b", 1, 9), arguments=CALLED))
    found = Profile("cycles", "COM1", (*costs, cost("c", 200, 70)))
    made = plan.make(found, LIMITS, arguments=True)
    assert {one.name: one.how for one in made.choices} == {"a": "O2+constants", "b": "O1", "c": "O2"}
    first = next(one for one in made.choices if one.name == "a")
    assert first.constants == Constants(16, -1, 0.75)
    assert first.reason == "200 calls ≥ 100; a = 16 and b = -1 in 75% of the calls"
    made.write(tmp_path / "plan.json")
    assert plan.read(tmp_path / "plan.json") == made
    assert all(one.constants is None for one in plan.make(found, LIMITS).choices), "nobody asked for it"


def test_a_profile_shows_the_arguments_of_most_calls_where_they_were_counted() -> None:
    found = replace(cost("a", 200, 70), arguments=CALLED)
    for one, shown in ((found, True), (replace(found, arguments=None), False)):
        text = show(profile_view(Profile("cycles", "COM1", (one,))))
        assert ("a = 16 and b = -1 in 75% of the calls" in text) is shown is ("called with" in text)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"plan_version": 2}, "no plan of version 1"),
        ({"modules": []}, "names no module"),
        ({"modules": [{"name": "a", "level": 9}]}, "no level from 0 to 3"),
        ({"modules": [{"name": "a", "level": True}]}, "no level from 0 to 3"),
        ({"modules": [{"name": "a/b", "level": 1}]}, "names no module"),
        ({"modules": [{"name": "a", "level": 1}] * 2}, "a module twice"),
        ({"modules": [{"name": "a", "level": 1, "counters": 7}]}, "no list of counters"),
        ({"modules": [{"name": "a", "level": 1, "constants": {"a": None, "share": 1}}]}, "are no numbers"),
        ({"modules": [{"name": "a", "level": 1, "constants": {"a": "%b", "share": 1}}]}, "are no numbers"),
        ({"modules": [{"name": "a", "level": 1, "constants": {"a": 7, "share": 2}}]}, "not from 0 to 1"),
    ],
)
def test_what_is_no_plan_is_refused_with_one_sentence(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"plan_version": 1, "modules": [{"name": "a", "level": 1}], **change}))
    with pytest.raises(BadData, match=why):
        plan.read(path)
