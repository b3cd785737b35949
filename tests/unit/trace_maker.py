"""Traces without a guest: written by the same journal, segment and manifest code that the recorder uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch, Events
from bareflow_gdb.tracing.journal import JournalWriter, journal_path
from bareflow_gdb.tracing.manifest import Manifest, Source
from bareflow_gdb.tracing.segments import convert_journal, segment_path

Row = tuple[int, str, int, tuple[int, ...]]
"""TSC, type, id, arguments."""

SWAP: list[Row] = [
    (1000, "jit_register", 0, (0x5000, 0x200010, 0)),
    (2000, "threshold", 0, (100, 0, 1, 0)),
    (2100, "compile_begin", 0, (1, 1, 0)),
    (2200, "emit", 0, (0x200100, 3, 0x1234, 2)),
    (2300, "compile_end", 0, (1, 1, 0, 0)),
    (2400, "publish", 0, (0x5000, 0x200010, 0x200100, 2 << 8 | 2 << 3 | 1)),
    (2600, "first_execution", 0, (2, 0x200100, 100, 0)),
]
SERIAL = "[RECOMPILE] fibonacci: O0 -> O1\n[ATOMIC-SWAP] Code pointer updated to O1\n"


def records(rows: Sequence[Row], first: int = 0) -> Events:
    """Ring records as the guest writes them, numbered from `first`."""
    events = np.zeros(len(rows), EVENT_DTYPE)
    for event, (tsc, kind, identifier, arguments) in zip(events, rows, strict=True):
        event["tsc"], event["type"], event["id"] = tsc, BY_NAME[kind].number, identifier
        event["arg"][: len(arguments)] = arguments
    events["seq"] = np.arange(first, first + len(rows), dtype=np.uint64).astype(np.uint32)
    return events


def batch(rows: Sequence[Row], first: int = 0, ring: int = 0, lost: int = 0) -> Batch:
    """The rows as one drained batch."""
    return Batch(ring, records(rows, first), first, lost)


def manifest(**changes: Any) -> Manifest:
    """A complete manifest of one function, with changes."""
    made = Manifest(
        suite="0",
        machine="made",
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        complete=True,
        ended="idle",
        clock="tsc",
        tsc_hz=1_000_000_000,
        abi="1.0",
        variant="kernel",
        build_id="00" * 20,
        thresholds=(100, 1000, 10000),
        functions=("fibonacci",),
        modules=("fibonacci",),
        sources=(Source("ring 0", 0, 65536, 0, len(SWAP), 0, 0, 0, 0),),
    )
    if not changes.get("complete", True):
        made = dataclasses.replace(made, ended="", sources=())
    return dataclasses.replace(made, **changes)


def make(
    directory: Path, *segments: Sequence[Batch], serial: str = SERIAL, open_journal: bool = False, **changes: Any
) -> Path:
    """A trace of these segments, the last one left as a journal when asked for; without a memory snapshot."""
    directory.mkdir()
    for number, batches in enumerate(segments):
        journal = JournalWriter(journal_path(directory, number))
        for one in batches:
            journal.write(one)
        journal.close()
        if not (open_journal and number == len(segments) - 1):
            convert_journal(journal.path, segment_path(directory, number))
    (directory / "serial.log").write_text(serial)
    manifest(**changes).save(directory)
    return directory
