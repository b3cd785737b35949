"""What does a recorded trace hold? Events as columns or by SQL, code, memory, serial output.

Needs neither gdb nor the kernel's ELF. A trace whose recorder was killed is read as far as it got: closed
segments, then the raw journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bareflow_gdb.abi.events import BY_NAME, EVENT_TYPES
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.foreign import clean, lines_of
from bareflow_gdb.memory.snapshot import SnapshotMemory
from bareflow_gdb.tracing import codes, manifest, segments
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.events import Events, to_trace
from bareflow_gdb.tracing.journal import PATTERN as JOURNALS
from bareflow_gdb.tracing.journal import read_journal

# A query is for this trace: it reaches neither files nor Python variables.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
}
_MAX_FILES = 10_000
_MAX_SERIAL = 64 << 20
_MAX_SYMBOLS = 4096


@dataclass(frozen=True)
class Loss:
    """Records that a ring's reader never got: `count` of them from sequence number `first` on."""

    ring: int
    first: int
    count: int


class Trace:
    """A trace directory, read lazily. Every method raises BareflowError for what is damaged."""

    def __init__(self, directory: Path, described: manifest.Manifest) -> None:
        self.directory = directory
        self.manifest = described

    @classmethod
    def open(cls, directory: Path) -> Trace:
        """The trace in `directory`; raises UsageError when there is none, BadData when it is not readable."""
        return cls(directory, manifest.load(directory))

    @cached_property
    def table(self) -> Any:
        """All events as an Arrow table in the order of time."""
        parts = [segments.read_segment(path) for path in self._segments()]
        for journal in self._open_journals():
            parts.append(segments.to_table(to_trace(read_journal(journal))))
        table = pa.concat_tables([segments.SCHEMA.empty_table(), *parts])
        tsc = table.column("tsc").to_numpy()
        if not bool(np.all(tsc[1:] >= tsc[:-1])):
            table = table.take(pa.array(np.argsort(tsc, kind="stable")))
        return table

    def _segments(self) -> list[Path]:
        return self._files(segments.PATTERN)

    def _open_journals(self) -> list[Path]:
        """Journals whose segment was not written."""
        written = {path.stem.removeprefix("events-") for path in self._segments()}
        return [path for path in self._files(JOURNALS) if path.stem.removeprefix("journal-") not in written]

    def _files(self, pattern: str) -> list[Path]:
        found = sorted(self.directory.glob(pattern), key=lambda path: (len(path.name), path.name))
        if len(found) > _MAX_FILES:
            raise BadData(f"{self.directory} holds {len(found)} files {pattern}; no recorder makes that many")
        return found

    @property
    def count(self) -> int:
        """Number of events."""
        return int(self.table.num_rows)

    def events(self, *types: str) -> Events:
        """The events of these types ("publish", "emit", …; none given: all), in the order of time."""
        unknown = [name for name in types if name not in BY_NAME]
        if unknown:
            known = ", ".join(sorted(BY_NAME))
            raise UsageError(f"there is no event type {', '.join(unknown)}; the types are {known}")
        table = self.table
        if types:
            wanted = pa.array([BY_NAME[name].number for name in types], pa.uint8())
            table = table.filter(pc.is_in(table.column("type"), value_set=wanted))
        return segments.to_events(table)

    def losses(self) -> list[Loss]:
        """Where sequence numbers are missing, ring by ring: exact, and independent of the manifest."""
        found = []
        rings = self.table.column("ring").to_numpy()
        numbers = self.table.column("seq").to_numpy()
        for ring in np.unique(rings):
            seq = np.sort(numbers[rings == ring])
            steps = np.diff(seq)
            for at in np.flatnonzero(steps != 1):
                found.append(Loss(int(ring), int(seq[at]) + 1, int(steps[at]) - 1))
        return found

    @property
    def lost(self) -> int:
        """Events lost on all rings: by the recorder's account, or by the gaps when it was killed."""
        if self.manifest.complete:
            return sum(source.lost for source in self.manifest.sources)
        return sum(loss.count for loss in self.losses())

    def sql(self, query: str) -> Any:
        """The answer of DuckDB as an Arrow table.

        Tables: `events` (columns of the segments), `types` (number, name), `functions` and `modules` (number,
        name). The query reaches nothing outside. Raises UsageError with DuckDB's sentence.
        """
        import duckdb

        connection = duckdb.connect(":memory:", config=_CLOSED)
        try:
            connection.register("events", self.table)
            connection.register("types", _names([kind.name for kind in EVENT_TYPES]))
            connection.register("functions", _names(list(self.manifest.functions)))
            connection.register("modules", _names(list(self.manifest.modules)))
            answer = connection.sql(query)
            if answer is None:
                raise UsageError("this statement has no answer; ask with SELECT")
            return answer.to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(f"this query cannot be answered: {str(error).splitlines()[0]}") from error
        finally:
            connection.close()

    def function_name(self, index: int) -> str:
        """The name of a function, or "function N" when the trace does not know it."""
        names = self.manifest.functions
        return names[index] if 0 <= index < len(names) else f"function {index}"

    def memory(self) -> SnapshotMemory:
        """The guest's memory at the last moment."""
        return SnapshotMemory(self.directory)

    @cached_property
    def codes(self) -> dict[int, SavedCode]:
        """The saved machine code by version number."""
        return codes.load(self.directory)

    def code_bytes(self, version: int) -> bytes:
        """The machine code of a version; raises BareflowError when it was not saved."""
        code = self.codes.get(version)
        if code is None:
            raise BareflowError(f"the trace knows no version {version}")
        return codes.code_bytes(self.directory, code)

    def serial(self) -> str:
        """What the guest printed on COM1, without control characters."""
        try:
            with (self.directory / "serial.log").open("rb") as file:
                return lines_of(file.read(_MAX_SERIAL))
        except FileNotFoundError:
            return ""

    @cached_property
    def symbols(self) -> dict[str, int]:
        """The kernel's exported symbols: name to address."""

        def symbol(entry: dict[str, Any]) -> tuple[str, int]:
            return clean(str(entry["name"]).encode()), int(entry["address"])

        return dict(codes.read_list(self.directory / "symbols.json", "symbols", _MAX_SYMBOLS, symbol))


def _names(names: list[str]) -> Any:
    return pa.table({"number": pa.array(range(len(names)), pa.uint32()), "name": pa.array(names, pa.string())})


def recover(directory: Path) -> int:
    """Completes the trace of a recorder that was killed: its journals become segments. Returns their events.

    Raises UsageError when the trace is complete already.
    """
    trace = Trace.open(directory)
    if trace.manifest.complete:
        raise UsageError(f"the trace {directory} is complete; there is nothing to recover")
    recovered = 0
    for journal in trace._open_journals():
        number = int(journal.stem.removeprefix("journal-"))
        recovered += segments.convert_journal(journal, segments.segment_path(directory, number))
    for leftover in [*directory.glob(JOURNALS), *directory.glob("*.partial")]:
        leftover.unlink()
    Trace.open(directory).table.validate()
    return recovered
