"""What does DuckDB answer about a trace's events?

The query reads the segments where they are, in bounded memory, and reaches nothing else: no other file, no network, no
extension, no setting. It can only select. What does not fit into memory goes into a folder that ends with the answer.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from bareflow_gdb.abi.events import EVENT_TYPES
from bareflow_gdb.errors import UsageError
from bareflow_gdb.tracing import blocks, segments
from bareflow_gdb.tracing.manifest import Manifest
from bareflow_gdb.tracing.store import Trace

MEMORY = "256MB"
SPILL = "8GB"
BATCH_ROWS = 1 << 13

_START: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "memory_limit": MEMORY,
    "max_temp_directory_size": SPILL,
}


@contextmanager
def answer(trace: Trace, query: str) -> Iterator[Any]:
    """The rows as an Arrow `RecordBatchReader`, which makes them as they are taken.

    Tables: `events` (columns of the segments, in the order of time within each), `types` (number, name), `functions`
    and `modules` (number, name), `sources` (ring, name, kind, clock, confidence, events,
    left_out, lost, missed). Columns of one name are told apart, as `a`, `a_1`. Raises UsageError with DuckDB's
    sentence, also when the rows are taken, BadData when the trace is damaged.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="bareflow-sql-") as folder, _handle(trace.directory) as handle:
        files = list(_segments(trace.directory, handle, Path(folder)))
        connection = duckdb.connect(":memory:", config={**_START, "temp_directory": folder})
        try:
            _lock(connection, files)
            connection.register("types", _names([kind.name for kind in EVENT_TYPES]))
            connection.register("functions", _names(list(trace.manifest.functions)))
            connection.register("modules", _names(list(trace.manifest.modules)))
            connection.register("sources", _sources(trace.manifest))
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UsageError("this query cannot be answered: it is not one SELECT statement")
            found = connection.sql(query)
            yield _named_apart(found.to_arrow_reader(BATCH_ROWS))
        except duckdb.Error as error:
            why = str(error).splitlines()[0].replace(str(handle), str(trace.directory))
            raise UsageError(f"this query cannot be answered: {why}") from error
        finally:
            connection.close()


@contextmanager
def _handle(directory: Path) -> Iterator[Path]:
    """The directory under a name without anything that DuckDB takes for a pattern, or cannot encode."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _segments(directory: Path, handle: Path, folder: Path) -> Iterator[Path]:
    """All segments, checked; what is in a journal still is made one of in `folder`."""
    for number in blocks.numbers(directory):
        path = blocks.segment(directory, number)
        events = None if path.exists() else blocks.journalled(directory, number)
        if events is not None:
            path = blocks.segment(folder, number)
            segments.write_segment(events, path)
        segments.open_segment(path)
        yield path if events is not None else blocks.segment(handle, number)


def _lock(connection: Any, files: Sequence[Path]) -> None:
    names = [str(path) for path in files]
    connection.execute("set allowed_paths = $1", [names])
    if names:
        connection.read_parquet(names).create_view("events")
    else:
        connection.register("events", segments.SCHEMA.empty_table())
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _names(names: list[str]) -> Any:
    return pa.table({"number": pa.array(range(len(names)), pa.uint32()), "name": pa.array(names, pa.string())})


def _sources(manifest: Manifest) -> Any:
    sources = manifest.sources
    words = {name: [str(getattr(one, name)) for one in sources] for name in ("name", "kind", "clock", "confidence")}
    counts = {name: [getattr(one, name) for one in sources] for name in ("events", "left_out", "lost", "missed")}
    return pa.table(
        {
            "ring": pa.array([one.ring for one in sources], pa.uint8()),
            **{name: pa.array(column, pa.string()) for name, column in words.items()},
            **{name: pa.array(column, pa.uint64()) for name, column in counts.items()},
        }
    )


def _named_apart(reader: Any) -> Any:
    """Of columns with one name the later ones are called NAME_1, NAME_2, …, as DuckDB itself does in a subquery."""
    given: list[str] = []
    for name in reader.schema.names:
        numbered = (f"{name}_{number}" for number in itertools.count(1))
        given.append(next(each for each in itertools.chain((name,), numbered) if each not in given))
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, given, strict=True)])
    return pa.RecordBatchReader.from_batches(schema, (batch.rename_columns(given) for batch in reader))
