"""`make fuzz`: a campaign, or with REPLAY one kept input again."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from progress_line import ProgressLine

from fuzz import campaign, corpus
from fuzz.campaign import Job, Tally
from fuzz.seeds import FIRMWARE, collect
from fuzz.table import table
from fuzz.target import judge
from fuzz.targets import ALL, TARGETS

PLACE = FIRMWARE.parent / "fuzz"
SECONDS = 3600.0
BATCH = 100_000
"""Inputs that are planned at a time when their number is not given."""
PASSES = 5
"""Of the plan at most, to come to the number of inputs that was asked for."""
Planned = Callable[[int, int], Iterator[Job]]
"""So many inputs with that seed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, help="so many in all; default: as many as the time allows")
    parser.add_argument(
        "--seconds", type=float, help=f"so long; default {SECONDS:g} where no number of inputs is given"
    )
    parser.add_argument("--seed", type=int, default=1, help="another one, other damage (default 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one for each processor)")
    parser.add_argument("--target", action="append", help=f"only these: {', '.join(TARGETS)}")
    parser.add_argument("--guided", action="store_true", help="led by atheris to code that no input has reached yet")
    parser.add_argument("--keep", action="store_true", help=f"with --guided: the last new ones into {corpus.KEPT.name}")
    parser.add_argument("--replay", type=Path, metavar="DIR", help="a failing input that was kept")
    options = parser.parse_args()
    if options.keep and not options.guided:
        parser.error("--keep takes what --guided has found; give that, too")
    seeds = collect(PLACE / "seeds")
    if options.replay:
        return replay(options.replay, seeds)
    names = options.target or list(TARGETS)
    seconds = options.seconds or (None if options.inputs else SECONDS)
    deadline = None if seconds is None else time.monotonic() + seconds
    seed = options.seed
    failures = PLACE / "failures"
    show = _Progress()
    found = PLACE / "corpus"
    if options.guided:
        corpus.lay_out(found)

    def planned(inputs: int, seed: int) -> Iterator[Job]:
        return campaign.guided(inputs, seed, names, found) if options.guided else campaign.planned(inputs, seed, names)

    jobs = _until(options.inputs, show, seed, planned) if options.inputs else _endless(seed, planned)
    module = "fuzz.guided" if options.guided else "fuzz.worker"
    tallies = campaign.run(jobs, seeds, failures, workers=options.jobs, deadline=deadline, module=module, progress=show)
    if options.keep:
        corpus.keep(found, names)
    print(f"\n{table(tallies)}")
    return 1 if any(tally.bad for tally in tallies) else 0


def _until(inputs: int, shown: _Progress, seed: int, planned: Planned) -> Iterator[Job]:
    """So many inputs at least: where rounds had fewer than their share was planned for, some more follow.

    A reader that ends its process again and again does not make that endless.
    """
    for more in range(PASSES):
        if shown.inputs < inputs:
            yield from planned(inputs - shown.inputs, seed + more)


def _endless(seed: int, planned: Planned) -> Iterator[Job]:
    return itertools.chain.from_iterable(planned(BATCH, seed + number) for number in itertools.count())


class _Progress:
    def __init__(self) -> None:
        self._line = ProgressLine(on_terminal=1, in_log=30)
        self.inputs = 0

    def __call__(self, tallies: list[Tally]) -> None:
        self.inputs, bad = sum(t.inputs for t in tallies), sum(t.bad for t in tallies)
        self._line.tell(f"{self.inputs:>11,} inputs  {bad} bad")


def replay(kept: Path, seeds: Path) -> int:
    """Puts a kept input to its reader again, with the traceback."""
    case = json.loads((kept / "case.json").read_text())
    with tempfile.TemporaryDirectory(prefix="bff-") as scratch:
        target = ALL[case["target"]](seeds, Path(scratch))
        verdict = judge(target, kept / "input", case["words"])
        print(f"{case['target']}: {case['words']}\n{', '.join(verdict.findings)}: {verdict.kind}")
        print(f"{verdict.seconds:.2f} s, {verdict.mb:.0f} MB; input in {kept / 'input'}")
        if verdict.bad:
            print(target.ask(kept / "input", case["words"]).encode("ascii", "backslashreplace").decode())
    return 1 if verdict.bad else 0


if __name__ == "__main__":
    sys.exit(main())
