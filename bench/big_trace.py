"""How is a trace of any length made from a real one? `python -m bench.big_trace DIR [EVENTS] [SEED]`

The real trace is its beginning: boot, swaps, memory, code. What follows is drawn from the real trace's events of the
types that a running guest repeats, at the distances that the real ones have.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.tracing import manifest, segments
from bareflow_gdb.tracing.events import Events
from bareflow_gdb.tracing.recorder import SEGMENT_RECORDS
from bareflow_gdb.tracing.store import Trace

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "traces" / "swaps-10-20-30"
EVENTS = 10_000_000
SEED = 20260101
REPEATED = ("disk", "console", "pool_alloc", "pool_free", "module_call", "irq", "call", "mark")


def make(directory: Path, events: int = EVENTS, seed: int = SEED, source: Path = SOURCE) -> Path:
    """A new trace of so many events; the same for the same seed."""
    shutil.copytree(source, directory)
    for old in directory.glob("events-*.parquet"):
        old.unlink()
    real = Trace.open(source)
    start = real.events()
    chance = np.random.default_rng(seed)
    counts = {ring: int(start["seq"][start["ring"] == ring].max()) + 1 for ring in np.unique(start["ring"]).tolist()}
    tsc = int(start["tsc"][-1])
    for number, first in enumerate(range(0, events, SEGMENT_RECORDS)):
        size = min(SEGMENT_RECORDS, events - first)
        part = start[:size] if first == 0 else start[:0]
        made = np.concatenate((part, _drawn(start, size - len(part), tsc, counts, chance)))
        tsc = int(made["tsc"][-1])
        segments.write_segment(segments.to_table(made), segments.segment_path(directory, number))
    sources = [dataclasses.replace(one, events=counts.get(one.ring, 0)) for one in real.manifest.sources]
    dataclasses.replace(real.manifest, machine="big", sources=tuple(sources)).save(directory)
    manifest.load(directory)
    return directory


def _drawn(real: Events, size: int, tsc: int, counts: dict[int, int], chance: np.random.Generator) -> Events:
    repeated = real[np.isin(real["type"], [BY_NAME[name].number for name in REPEATED])]
    made = chance.choice(repeated, size)
    steps = chance.choice(np.diff(real["tsc"]), size)
    made["tsc"] = tsc + np.cumsum(steps, dtype=np.uint64)
    for ring, first in counts.items():
        there = np.flatnonzero(made["ring"] == ring)
        made["seq"][there] = first + np.arange(len(there), dtype=np.uint64)
        counts[ring] = first + len(there)
    return made


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
