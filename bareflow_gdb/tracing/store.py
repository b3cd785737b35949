"""What does a recorded trace hold? Events as columns or by SQL, code, memory, serial output.

Needs neither gdb nor the kernel's ELF. A trace whose recorder was killed is read as far as it got: closed
segments, then the raw journal.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bareflow_gdb.abi.events import BY_NAME, EVENT_TYPES
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.files import PARTIAL, is_locked, locked
from bareflow_gdb.foreign import clean, console_of
from bareflow_gdb.memory.snapshot import SnapshotMemory
from bareflow_gdb.small_files import read_start
from bareflow_gdb.tracing import codes, journal, manifest, segments
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.events import Events, to_trace

# A query is for this trace: it reaches neither files nor Python variables.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
}
_MAX_FILES = 10_000
MAX_SERIAL = 64 << 20
_MAX_SYMBOLS = 4096


@dataclass(frozen=True)
class Loss:
    """Records that a ring's reader never got: `count` of them from sequence number `first` on."""

    ring: int
    first: int
    count: int


class Trace:
    """A trace directory, read lazily. Every method raises BareflowError for what is damaged."""

    def __init__(self, directory: Path, described: manifest.Manifest, recorded_now: bool) -> None:
        self.directory = directory
        self.manifest = described
        self.recorded_now = recorded_now
        """Did a recorder, or a `recover`, still write it when it was opened?"""

    @classmethod
    def open(cls, directory: Path) -> Trace:
        """The trace in `directory`; raises UsageError when there is none, BadData when it is not readable."""
        # In this order: a recorder completes the manifest before it gives the lock back.
        locked_now = is_locked(directory)
        described = manifest.load(directory)
        return cls(directory, described, locked_now and not described.complete)

    @cached_property
    def table(self) -> Any:
        """All events as an Arrow table in the order of time. All of them are then in memory: see `parts`."""
        return _in_order(self.parts())

    def parts(self, *columns: str) -> Iterator[Any]:
        """The events (all columns, or these) as one Arrow table per segment or journal, each in the order of time."""
        for number in self._numbers():
            yield self._part(number, columns or segments.SCHEMA.names)

    def _part(self, number: str, columns: Sequence[str]) -> Any:
        segment = self.directory / f"events-{number}.parquet"
        if not segment.exists():
            try:
                raw = self.directory / f"journal-{number}.raw"
                return segments.to_table(to_trace(journal.read_journal(raw))).select(columns)
            except BadData:
                # A recorder that still runs may have made the segment of it meanwhile.
                if not segment.exists():
                    raise
        return segments.read_segment(segment, columns)

    def _numbers(self) -> list[str]:
        """The numbers, as they are written in file names, of all segments and journals."""
        numbers = {*_numbered(self.directory, segments.NAME), *_numbered(self.directory, journal.NAME)}
        if len(numbers) > _MAX_FILES:
            raise BadData(f"{self.directory} holds {len(numbers)} segments of events; no recorder makes that many")
        return sorted(numbers, key=lambda number: (len(number), number))

    @property
    def count(self) -> int:
        """Number of events."""
        return sum(part.num_rows for part in self.parts("type"))

    def events(self, *types: str) -> Events:
        """The events of these types ("publish", "emit", …; none given: all), in the order of time."""
        unknown = [name for name in types if name not in BY_NAME]
        if unknown:
            known = ", ".join(sorted(BY_NAME))
            raise UsageError(f"there is no event type {', '.join(unknown)}; the types are {known}")
        if not types:
            return segments.to_events(self.table)
        wanted = pa.array([BY_NAME[name].number for name in types], pa.uint8())
        chosen = (part.filter(pc.is_in(part.column("type"), value_set=wanted)) for part in self.parts())
        return segments.to_events(_in_order(chosen))

    def losses(self) -> list[Loss]:
        """Where sequence numbers are missing, ring by ring: exact, and independent of the manifest."""
        found = []
        table = pa.concat_tables([segments.SCHEMA.empty_table().select(["ring", "seq"]), *self.parts("ring", "seq")])
        rings, numbers = (table.column(name).to_numpy() for name in ("ring", "seq"))
        for ring in np.unique(rings):
            seq = np.sort(numbers[rings == ring])
            steps = np.diff(seq)
            for at in np.flatnonzero(steps != 1):
                found.append(Loss(int(ring), int(seq[at]) + 1, int(steps[at]) - 1))
        return found

    @property
    def missing(self) -> int:
        """Events that its recorder took and none of its files has any more: a copy that was cut off."""
        taken = sum(source.events for source in self.manifest.sources) if self.manifest.complete else 0
        return max(0, taken - self.count)

    @property
    def lost(self) -> int:
        """Events lost on all rings: by the recorder's account, and missing; by the gaps when it was killed."""
        if self.manifest.complete:
            return sum(source.lost for source in self.manifest.sources) + self.missing
        return sum(loss.count for loss in self.losses())

    def sql(self, query: str) -> Any:
        """The answer of DuckDB as an Arrow table.

        Tables: `events` (columns of the segments), `types` (number, name), `functions` and `modules` (number,
        name). Columns of one name are told apart, as `a`, `a_1`. The query reaches nothing outside. Raises
        UsageError with DuckDB's sentence.
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
            return _named_apart(answer.to_arrow_table())
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

    @property
    def code_left_out(self) -> int:
        """How many versions' code was left out because of the recorder's limits."""
        return codes.left_out(self.directory)

    def code_bytes(self, version: int) -> bytes:
        """The machine code of a version; raises BareflowError when it was not saved."""
        code = self.codes.get(version)
        if code is None:
            raise BareflowError(f"the trace knows no version {version}")
        return codes.code_bytes(self.directory, code)

    def serial(self) -> str:
        """What the guest printed on COM1, without control characters."""
        try:
            return console_of(read_start(self.directory / "serial.log", MAX_SERIAL))
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise BadData(f"serial.log of the trace {self.directory} cannot be read: {error}") from error

    @cached_property
    def symbols(self) -> dict[str, int]:
        """The kernel's exported symbols: name to address."""

        def symbol(entry: dict[str, Any]) -> tuple[str, int]:
            return clean(str(entry["name"]).encode()), int(entry["address"])

        return dict(codes.read_list(self.directory / "symbols.json", "symbols", _MAX_SYMBOLS, symbol))


def _in_order(parts: Iterable[Any]) -> Any:
    """Tables of events joined, in the order of time."""
    table = pa.concat_tables([segments.SCHEMA.empty_table(), *parts])
    tsc = table.column("tsc").to_numpy()
    if not bool(np.all(tsc[1:] >= tsc[:-1])):
        table = table.take(pa.array(np.argsort(tsc, kind="stable")))
    return table


def _numbered(directory: Path, name: re.Pattern[str]) -> dict[str, Path]:
    """The files of a directory with such a name, by their number."""
    matches = ((path, name.fullmatch(path.name)) for path in directory.iterdir())
    return {match[1]: path for path, match in matches if match is not None}


def _named_apart(table: Any) -> Any:
    """Of columns with one name the later ones are called NAME_1, NAME_2, …, as DuckDB itself does in a subquery."""
    given: list[str] = []
    for name in table.schema.names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        given.append(next(each for each in itertools.chain((name,), numbered) if each not in given))
    return table.rename_columns(given)


def _names(names: list[str]) -> Any:
    return pa.table({"number": pa.array(range(len(names)), pa.uint32()), "name": pa.array(names, pa.string())})


def recover(directory: Path) -> int:
    """Completes the trace of a recorder that was killed: its journals become segments. Returns their events.

    Raises UsageError when the trace is complete already or still being recorded, CannotWrite.
    """
    manifest.load(directory)
    with changing(directory):
        trace = Trace.open(directory)
        if trace.manifest.complete:
            raise UsageError(f"the trace {directory} is complete; there is nothing to recover")
        written = _numbered(directory, segments.NAME)
        recovered = 0
        for number, raw in sorted(_numbered(directory, journal.NAME).items()):
            if number in written:
                raw.unlink()
            else:
                recovered += segments.convert_journal(raw, directory / f"events-{number}.parquet")
        for leftover in directory.glob(f".*{PARTIAL}"):
            leftover.unlink()
        for part in trace.parts():
            part.validate()
        return recovered


def changing(directory: Path, *files: Path) -> AbstractContextManager[None]:
    """The right to write into a trace; with `files`, only when one of them lies in it.

    Raises UsageError when it is still being recorded, or recovered.
    """
    inside = [file for file in files if file.resolve().is_relative_to(directory.resolve())]
    if files and not inside:
        return nullcontext()
    return locked(directory, f"the trace {directory} is still being recorded, or recovered; end that first")
