"""Which fault comes when, and what came of each? Chance chooses, and a seed makes it choose the same again."""

from __future__ import annotations

import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soak.fault import Fault
from soak.place import Place


@dataclass
class Tally:
    """What came of the rounds of one fault."""

    name: str
    times: int = 0
    survived: int = 0
    left_out: str = ""
    """Why there was no round."""
    lost: Counter[str] = field(default_factory=Counter)
    """What was lost, and in how many rounds."""
    failures: list[tuple[int, str, Path]] = field(default_factory=list)
    """The number of the round, what did not hold, and where all about it is."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Did everything hold, every time?"""
        return self.survived == self.times


def run(
    faults: Sequence[type[Fault]],
    place: Place,
    failures: Path,
    *,
    seed: int,
    rounds: int | None = None,
    deadline: float | None = None,
    only_round: int | None = None,
    progress: Callable[[list[Tally]], None] = lambda _: None,
) -> list[Tally]:
    """Rounds until there were so many, or until `deadline` (of time.monotonic): each fault once, then as chance wants.

    only_round: of the fault that is given, this round alone. A round's failure is kept in a file of `failures`.
    """
    made = {fault.name: fault(place) for fault in faults}
    tallies = {name: Tally(name, left_out=fault.missing) for name, fault in made.items()}
    possible = [fault for fault in made.values() if not fault.missing]
    numbers = Counter({fault.name: only_round or 0 for fault in possible})
    try:
        for done, fault in enumerate(_order(possible, random.Random(seed))):
            if (rounds is not None and done >= rounds) or (deadline is not None and time.monotonic() >= deadline):
                break
            number = numbers[fault.name]
            numbers[fault.name] += 1
            _round(fault, number, seed, tallies[fault.name], failures)
            progress(list(tallies.values()))
    except KeyboardInterrupt:
        # The round that was interrupted does not count; those before it do.
        pass
    finally:
        for fault in made.values():
            fault.close()
    return list(tallies.values())


def _order(faults: Sequence[Fault], chance: random.Random) -> Iterator[Fault]:
    if not faults:
        return
    yield from chance.sample(faults, len(faults))
    while True:
        yield from chance.choices(faults, [fault.weight for fault in faults])


def _round(fault: Fault, number: int, seed: int, tally: Tally, failures: Path) -> None:
    began = time.monotonic()
    heard = ""
    try:
        with fault.place.round():
            try:
                lost = fault.once(random.Random(f"{seed} {fault.name} {number}"))
            except Exception:
                heard = fault.place.heard()
                raise
        left = fault.place.left()
        assert not left, f"left behind: {', '.join(left)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding, and the next round is another
        failures.mkdir(parents=True, exist_ok=True)
        file = failures / f"{re.sub(r'[: ]+', '-', fault.name)}-{seed}-{number}.txt"
        file.write_text(f"{traceback.format_exc()}\n{heard}\n")
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        tally.failures.append((number, f"{type(error).__name__}: {why[:300]}", file))
    else:
        tally.survived += 1
        tally.lost[lost] += 1
    tally.times += 1
    tally.seconds += time.monotonic() - began
