"""What does a recorded trace hold? Events as columns (sql.py answers queries), code, memory, serial output.

Needs neither gdb nor the kernel's ELF. A trace whose recorder was killed is read as far as it got: closed
segments, then the raw journal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from bareflow_gdb.abi.events import type_numbers
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.files import PARTIAL, is_locked, locked
from bareflow_gdb.foreign import clean, console_of
from bareflow_gdb.memory.snapshot import SnapshotMemory
from bareflow_gdb.small_files import read_start
from bareflow_gdb.tracing import blocks, codes, journal, losses, manifest, segments
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.events import Events
from bareflow_gdb.tracing.losses import Gaps, Loss

MAX_SERIAL = 64 << 20
_MAX_SYMBOLS = 4096


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

    def parts(self, *columns: str, types: Sequence[str] = ()) -> Iterator[Any]:
        """The events as small Arrow tables, each in the order of time, which the next one replaces in memory.

        All columns or these, all events or those of these `types`. Raises UsageError when there is no such type.
        """
        wanted = _wanted(types)
        for block in blocks.blocks(self.directory):
            yield from block(columns or segments.SCHEMA.names, wanted)

    @property
    def count(self) -> int:
        """Number of events."""
        return sum(part.num_rows for part in self.parts("type"))

    def events(self, *types: str) -> Events:
        """The events of these types ("publish", "emit", …; none given: all) in the order of time, all in memory.

        Raises UsageError when there is no such type.
        """
        return segments.to_events(blocks.in_order(self.parts(types=types)))

    def last(self, count: int, *types: str) -> Events:
        """The last `count` events, or those of these types, in the order of time. Raises UsageError: no such type."""
        return segments.to_events(blocks.last(self.directory, count, _wanted(types)))

    def losses(self) -> list[Loss]:
        """Where sequence numbers are missing, ring by ring, the first MOST places; the manifest is not asked."""
        return list(itertools.islice(self._gaps, losses.MOST))

    @cached_property
    def _gaps(self) -> Gaps:
        return Gaps(self.parts("ring", "seq"))

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
        return self._gaps.lost

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


def _wanted(types: Sequence[str]) -> Any | None:
    """The numbers of event types, None for all events. Raises UsageError."""
    return pa.array(type_numbers(types), pa.uint8()) if types else None


def recover(directory: Path) -> int:
    """Completes the trace of a recorder that was killed: its journals become segments. Returns their events.

    Raises UsageError when the trace is complete already or still being recorded, CannotWrite.
    """
    manifest.load(directory)
    with changing(directory):
        trace = Trace.open(directory)
        if trace.manifest.complete:
            raise UsageError(f"the trace {directory} is complete; there is nothing to recover")
        written = blocks.numbered(directory, segments.NAME)
        recovered = 0
        for number, raw in sorted(blocks.numbered(directory, journal.NAME).items()):
            if number in written:
                raw.unlink()
            else:
                recovered += segments.convert_journal(raw, directory / f"events-{number}.parquet")
        for leftover in directory.glob(f".*{PARTIAL}"):
            leftover.unlink()
        for part in trace.parts():
            part.validate()
        return recovered


def found_in(directory: Path) -> list[tuple[Path, manifest.Manifest | None, str]]:
    """The traces in a folder, by name: each with its manifest, or why that cannot be read. Raises UsageError."""
    try:
        folders = sorted(path.parent for path in directory.glob(f"*/{manifest.FILE}"))
    except OSError as error:
        raise UsageError(f"{directory} cannot be read: {error.strerror}; give a folder of traces") from error
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder; give one that has traces in it")
    found: list[tuple[Path, manifest.Manifest | None, str]] = []
    for folder in folders:
        try:
            found.append((folder, manifest.load(folder), ""))
        except BareflowError as error:
            found.append((folder, None, str(error)))
    return found


def changing(directory: Path, *files: Path) -> AbstractContextManager[None]:
    """The right to write into a trace; with `files`, only when one of them lies in it.

    Raises UsageError when it is still being recorded, or recovered.
    """
    inside = [file for file in files if file.resolve().is_relative_to(directory.resolve())]
    if files and not inside:
        return nullcontext()
    return locked(directory, f"the trace {directory} is still being recorded, or recovered; end that first")
