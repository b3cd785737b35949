"""A change of cost is found at its build and told with what else changed; noise is none."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.pgo.profile import CYCLES, INSTRUCTIONS, Cost, Profile
from bareflow_gdb.pgo.trend import places, trend


def builds(folder: Path, unit: str, costs: Sequence[int], sizes: Sequence[int] = (), sources: str = "") -> list[Path]:
    """A profile of each build: `primes` with these costs, and `sum`, which never changes."""
    folder.mkdir(exist_ok=True)
    for number, least in enumerate(costs):
        size = sizes[number] if sizes else 100
        source = sources[number] * 64 if sources else "a" * 64
        primes = Cost("primes", 3, 3 * least, least, least, size, source)
        Profile(unit, "COM1, modules", (primes, Cost("sum", 1, 70, 70, 70, 9))).write(folder / f"b{number:02}.json")
    return places([folder])


def test_a_step_in_instructions_is_told_with_its_build_and_what_changed(tmp_path: Path) -> None:
    found = trend(builds(tmp_path / "t", INSTRUCTIONS, (900, 900, 1000, 1000), (80, 80, 96, 96), "aabb"))
    primes, other = found.modules
    assert other.changes == ()
    (change,) = primes.changes
    assert (change.build, change.before, change.after) == ("b02.json", 900, 1000)
    assert change.what == "other source, 80 to 96 bytes of code"


@pytest.mark.parametrize(
    ("costs", "since"),
    [
        ((900, 900, 1000), "b02.json"),
        ((900, 1000, 900), None),
        ((900, 1000, 902), None),
        ((900, 940, 1000), "b02.json"),
        ((1000, 900, 900), None),
        ((900, 1200, 1000), "b01.json"),
        ((900, 903, 906), None),
    ],
)
def test_a_regression_is_a_rise_beyond_the_limit_that_still_stands(
    tmp_path: Path, costs: Sequence[int], since: str | None
) -> None:
    change = trend(builds(tmp_path / "t", INSTRUCTIONS, costs)).modules[0].regression(0.05)
    assert (change.build if change else None) == since


def noisy(level: int, count: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    return [level + chance.randrange(-20, 21) for _ in range(count)]


def test_in_cycles_a_lasting_change_is_found_and_noise_is_not(tmp_path: Path) -> None:
    costs = noisy(1000, 8, 1) + noisy(1100, 8, 2)
    found = trend(builds(tmp_path / "changed", CYCLES, costs)).modules[0]
    assert [change.build for change in found.changes] == ["b08.json"]
    steady = [trend(builds(tmp_path / f"{seed}", CYCLES, noisy(1000, 12, seed))).modules[0] for seed in range(20)]
    assert sum(bool(one.changes) for one in steady) <= 3, "one of twenty is expected"


def test_few_builds_in_cycles_are_said_to_be_too_few(tmp_path: Path) -> None:
    found = trend(builds(tmp_path / "t", CYCLES, (100, 100, 900)))
    assert found.modules[0].changes == ()
    assert "6 builds or more, these are 3" in found.notes[0]


def test_the_verb_shows_it_and_its_exit_code_is_the_verdict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    builds(tmp_path / "t", INSTRUCTIONS, (900, 900, 1000))
    assert cli.main(["trend", str(tmp_path / "t")]) == 1
    shown = capfd.readouterr().out
    assert "problem: primes costs 11.1% more since b02.json" in shown
    assert cli.main(["trend", str(tmp_path / "t"), "--limit", "12", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["trend"]["builds"] == ["b00.json", "b01.json", "b02.json"]


def test_one_build_or_two_units_are_no_trend(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes 2 to 500 builds"):
        builds(tmp_path / "one", INSTRUCTIONS, (900,))
    both = [*builds(tmp_path / "a", INSTRUCTIONS, (1, 2)), *builds(tmp_path / "b", CYCLES, (1, 2))]
    with pytest.raises(UsageError, match="some cycles"):
        trend(both)
