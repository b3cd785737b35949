"""Is a trace of the flood right, event by event? Its guest counts its events, and each carries the next random number.

firmware/kernel/bench.c: event i of the flood carries i and the i-th state of a linear congruential generator.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.tracing.ring import CHUNK_RECORDS
from bareflow_gdb.tracing.store import Trace
from soak.place import Place

FLOOD = layouts.const("BF_SCENARIO_RING_FLOOD")
IN_HAND = "the batch in hand"
_HEADER = layouts.const("BF_RING0_HEADER")
_MARK = BY_NAME["mark"].number
_CHUNK = struct.Struct("<4sIIIQQ")  # magic, ring, records, 0, first sequence number, lost before
_RECORD = 32


def ring_word(memory: Memory, field: str) -> int:
    """A word of the header of the flood's ring."""
    memory.invalidate()
    return int.from_bytes(memory.read(_HEADER + layouts.offset("bf_ring_header", field), 4, field), "little")


@dataclass(frozen=True)
class Account:
    """What a trace holds of the flood's ring."""

    count: int
    first: int
    """Sequence number of its first event, 0 where there is none."""
    next: int
    """The one after its last, 0 where there is none."""
    missing: int
    """Sequence numbers between them that it does not have."""


def checked(directory: Path) -> Account:
    """Reads every event of a trace and compares it with what the guest computed; raises AssertionError."""
    parts = defaultdict(list)
    for part in Trace.open(directory).parts("ring", "seq", "type", "arg0", "arg1"):
        of_flood = part.column("ring").to_numpy() == 0
        for name in ("seq", "type", "arg0", "arg1"):
            parts[name].append(part.column(name).to_numpy()[of_flood])
    if not sum(map(len, parts["seq"])):
        return Account(0, 0, 0, 0)
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    order = np.argsort(columns["seq"], kind="stable")
    seq, types, turns, states = (columns[name][order] for name in ("seq", "type", "arg0", "arg1"))
    steps = np.diff(seq)
    assert (steps > 0).all(), "an event is there twice"
    marks = types == _MARK
    both = marks[1:] & marks[:-1]
    assert (np.diff(turns.astype(np.int64))[both] == steps[both].astype(np.int64)).all(), "events of other turns"
    computed = states[:-1] * np.uint32(1664525) + np.uint32(1013904223)
    following = both & (steps == 1)
    assert (computed[following] == states[1:][following]).all(), "an event is not what the guest wrote"
    missing = int(seq[-1] - seq[0]) + 1 - len(seq)
    return Account(len(seq), int(seq[0]), int(seq[-1]) + 1, missing)


def completed(directory: Path) -> int:
    """Events of all rings in the batches that reached the disk whole, by the file formats and not by the suite."""
    found = 0
    segments = {path.stem.partition("-")[2]: path for path in directory.glob("events-*.parquet")}
    for path in segments.values():
        found += pq.read_metadata(path).num_rows
    for path in directory.glob("journal-*.raw"):
        if path.stem.partition("-")[2] in segments:
            continue
        data, at = path.read_bytes(), 0
        while at + _CHUNK.size <= len(data):
            magic, _, records, _, _, _ = _CHUNK.unpack_from(data, at)
            assert magic == b"BCFJ", f"{path.name} has something else at {at:,}"
            at += _CHUNK.size + records * _RECORD
            found += records if at <= len(data) else 0
    return found


def verified(place: Place, directory: Path, *, complete: bool) -> None:
    """`trace verify` finds nothing wrong, but what a recorder that was killed had not saved yet."""
    said = place.ask("trace", "verify", directory, "--json")
    parts = {part["name"]: part["problems"] for part in json.loads(said.out)["parts"]}
    if not complete:
        assert "not complete" in str(parts.pop("recording")), said.out
        if not (directory / "memory" / "index.json").exists():
            assert "no memory snapshot" in str(parts.pop("memory")), said.out
        if not (directory / "symbols.json").exists():
            parts.pop("symbols")
    assert not any(parts.values()), said.out


def batch_at_most(events: int) -> None:
    """What a recorder had taken and not written when it died."""
    assert 0 <= events <= CHUNK_RECORDS, f"{events:,} events are lost, more than one batch"
