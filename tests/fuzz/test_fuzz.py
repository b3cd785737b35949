"""A few seconds of `make fuzz`: no reader crashes, hangs, takes memory or prints control characters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bareflow_gdb.questions import registry
from fuzz import campaign
from fuzz.campaign import Job, Known, Rounds, Tally
from fuzz.corpus import kept
from fuzz.questions import every_question
from fuzz.seeds import collect
from fuzz.table import table
from fuzz.targets import TARGETS

INPUTS = 3000
SEED = 20260101
WORKERS = 2


@pytest.fixture(scope="module")
def seeds(firmware: Path) -> Path:
    """Of the real guests, booted once."""
    return collect(firmware.parent / "fuzz" / "seeds", firmware)


def run(jobs: list[Job], seeds: Path, failures: Path) -> list[Tally]:
    return campaign.run(iter(jobs), seeds, failures, workers=WORKERS)


def test_damaged_inputs_are_answered_or_refused(seeds: Path, tmp_path: Path) -> None:
    names = list(TARGETS)
    tallies = run(list(campaign.planned(INPUTS, SEED, names)), seeds, tmp_path)
    assert not any(tally.bad for tally in tallies), f"\n{table(tallies)}"
    assert {tally.name for tally in tallies} == set(names)
    # A target that refuses everything, or nothing, does not reach its reader.
    assert all(tally.found["answered"] for tally in tallies), f"\n{table(tallies)}"


def test_what_a_guided_campaign_kept_is_answered_or_refused(seeds: Path, tmp_path: Path) -> None:
    choices = kept()
    assert set(choices) == set(TARGETS), "`make fuzz GUIDED=1 KEEP=1` keeps some of each"
    tallies = run([Known(name, tuple(some)) for name, some in choices.items()], seeds, tmp_path)
    assert not any(tally.bad for tally in tallies), f"\n{table(tallies)}"
    assert {tally.name for tally in tallies} == set(TARGETS)


@pytest.mark.parametrize(
    ("fault", "finding"),
    [("crash", "crash"), ("control", "control"), ("large", "large"), ("ends", "crash"), ("hangs", "slow")],
)
def test_each_fault_is_found_and_its_input_kept(
    tmp_path: Path, fault: str, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "hangs":
        monkeypatch.setattr(campaign, "HANG_SECONDS", 2.0)
    name = f"faulty: {fault}"
    (tally,) = run([Rounds(name, 0, 1, SEED)], tmp_path, tmp_path / "failures")
    assert tally.found[finding] == tally.bad == 1, table([tally])
    (kept,) = (tmp_path / "failures").iterdir()
    case = json.loads((kept / "case.json").read_text())
    assert (case["target"], case["words"], case["findings"]) == (name, "words", [*case["findings"][:-1], finding])
    assert (kept / "input" / "bytes").read_text() == name
    assert str(kept) in (kept / "command").read_text()
    assert str(kept) in table([tally])


def test_every_question_of_the_registry_is_asked_of_a_memory() -> None:
    asked = {words[0] for words in every_question()}
    assert asked == set(registry.names())
