"""A few seconds of `make soak`, and: would it notice, and say how it is seen again?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

import pytest

from soak import campaign
from soak.campaign import Tally
from soak.fault import Fault
from soak.faults import FAULTS
from soak.place import Place
from soak.table import table

SEED = 20260101
CHEAP = [fault for fault in FAULTS.values() if fault.cheap]


class Ends(Fault):
    name: ClassVar = "it ends"
    weight: ClassVar = 1

    def once(self, chance: random.Random) -> str:
        return f"{chance.randrange(1000)} events"


class Breaks(Fault):
    name: ClassVar = "it breaks"
    weight: ClassVar = 1

    def once(self, chance: random.Random) -> str:
        self.place.new("left")
        raise AssertionError(f"{chance.randrange(1000)} are lost")


class Missing(Fault):
    name: ClassVar = "it is missing"
    missing = "install it"

    def once(self, chance: random.Random) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("fault", CHEAP, ids=[fault.name for fault in CHEAP])
def test_each_cheap_fault_is_survived_once(fault: type[Fault], firmware: Path, tmp_path: Path) -> None:
    assert firmware.exists()
    [tally] = campaign.run([fault], Place(tmp_path), tmp_path / "failures", seed=SEED, rounds=1)
    assert (tally.times, tally.survived, tally.left_out) == (1, 1, ""), f"\n{table([tally], SEED)}"


def some(place: Path, rounds: int, *faults: type[Fault], only_round: int | None = None) -> list[Tally]:
    return campaign.run(faults, Place(place), place / "failures", seed=7, rounds=rounds, only_round=only_round)


def test_a_seed_makes_the_same_rounds_and_one_is_made_again_alone(tmp_path: Path) -> None:
    first, again = (some(tmp_path, 20, Ends, Breaks) for _ in range(2))
    assert [(tally.times, tally.survived, tally.lost) for tally in first] == [
        (tally.times, tally.survived, tally.lost) for tally in again
    ]
    breaks = first[1]
    assert breaks.times > 3 and breaks.survived == 0 and not breaks.good and first[0].good
    number, why, file = breaks.failures[3]
    assert number == 3 and "are lost" in file.read_text() and "Traceback" in file.read_text()
    [alone] = some(tmp_path, 1, Breaks, only_round=3)
    assert [failure[:2] for failure in alone.failures] == [(3, why)]
    assert not list(tmp_path.glob("left-*"))


def test_the_table_says_what_was_lost_what_was_left_out_and_how_it_is_seen_again(tmp_path: Path) -> None:
    shown = table(some(tmp_path, 4, Ends, Breaks, Missing), 7)
    assert "left out: install it" in shown and "events (1)" in shown
    assert 'make soak FAULT="it breaks" SEED=7 ROUND=0' in shown
    assert "\nsum " in shown
