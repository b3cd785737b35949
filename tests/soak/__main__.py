"""`make soak`: breaks what the suite works with, at random, and prints what was survived."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from progress_line import ProgressLine

from soak import campaign
from soak.campaign import Tally
from soak.faults import FAULTS
from soak.place import FIRMWARE, Place
from soak.table import table

SECONDS = 600.0


def main() -> int:
    told = [f"{name}\n  {fault.broken}\n  then: {fault.holds}" for name, fault in FAULTS.items()]
    parser = argparse.ArgumentParser(
        prog="make soak",
        description=__doc__,
        epilog="\n".join(told),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, help=f"so long (default {SECONDS:g})")
    parser.add_argument("--rounds", type=int, help="so many in all; default: as many as the time allows")
    parser.add_argument("--seed", type=int, default=1, help="another one, other moments (default 1)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only these")
    parser.add_argument("--round", type=int, help="only this round of one fault, as the table names it")
    options = parser.parse_args()
    names = options.fault or list(FAULTS)
    if options.round is not None and len(names) != 1:
        parser.error("a round is one fault's: give that, too")
    rounds = 1 if options.round is not None else options.rounds
    seconds = options.seconds or (None if rounds else SECONDS)
    # As a cancelled job ends: machines are detached, and would run on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="bfs-"))
    os.environ.update(XDG_RUNTIME_DIR=str(folder), XDG_CACHE_HOME=str(folder / "cache"))
    failures = FIRMWARE.parent / "soak"
    try:
        tallies = campaign.run(
            [FAULTS[name] for name in names],
            Place(folder),
            failures,
            seed=options.seed,
            rounds=rounds,
            deadline=None if seconds is None else time.monotonic() + seconds,
            only_round=options.round,
            progress=_Progress(),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{table(tallies, options.seed)}")
    return 0 if all(tally.good for tally in tallies) else 1


class _Progress:
    def __init__(self) -> None:
        self._line = ProgressLine(on_terminal=0.5, in_log=15)

    def __call__(self, tallies: list[Tally]) -> None:
        times, survived = sum(tally.times for tally in tallies), sum(tally.survived for tally in tallies)
        self._line.tell(f"{times:>5,} faults  {survived:>5,} survived")


if __name__ == "__main__":
    sys.exit(main())
