"""How do events become Parquet files, and how are these read back?

A segment `events-NNN.parquet` is complete on its own: sorted by TSC, zstd, the schema's version in its
metadata. Times and sequence numbers are written as differences, and so are arguments that are hardly ever the same
twice, such as counters; a dictionary of those would only cost time and space.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bareflow_gdb.errors import BadData
from bareflow_gdb.files import replacing
from bareflow_gdb.tracing.events import TRACE_DTYPE, Batch, Events
from bareflow_gdb.tracing.journal import read_journal

NAME = re.compile(r"events-([0-9]+)\.parquet")
ARGUMENTS = ("arg0", "arg1", "arg2", "arg3")
SCHEMA = pa.schema(
    [
        ("tsc", pa.uint64()),
        ("seq", pa.uint64()),
        ("ring", pa.uint8()),
        ("type", pa.uint8()),
        ("cpu", pa.uint8()),
        ("id", pa.uint16()),
        *((name, pa.uint32()) for name in ARGUMENTS),
    ]
)
BATCH_ROWS = 1 << 17
"""Events are read, and compressed, by so many at a time."""
_DELTAS = ("tsc", "seq")
_SAMPLE_ROWS = 4096
_MOST_ROWS = 8 << 20


def segment_path(directory: Path, number: int) -> Path:
    """The Parquet file of segment `number`."""
    return directory / f"events-{number:03d}.parquet"


def to_table(events: Events) -> Any:
    """`TRACE_DTYPE` events as an Arrow table."""
    columns = [np.ascontiguousarray(events[name]) for name in SCHEMA.names[:6]]
    columns += [np.ascontiguousarray(events["arg"][:, index]) for index in range(len(ARGUMENTS))]
    return pa.table(columns, schema=SCHEMA)


def merged(batches: Iterable[Batch]) -> Any:
    """The batches' events as an Arrow table, ordered by TSC; equal TSCs keep the order of the ring."""
    batches = list(batches)
    count = sum(len(batch.events) for batch in batches)
    columns = {field.name: np.empty(count, field.type.to_pandas_dtype()) for field in SCHEMA}
    end = 0
    for batch in batches:
        start, end = end, end + len(batch.events)
        for name in ("tsc", "type", "cpu", "id"):
            columns[name][start:end] = batch.events[name]
        for index, name in enumerate(ARGUMENTS):
            columns[name][start:end] = batch.events["arg"][:, index]
        columns["ring"][start:end] = batch.ring
        columns["seq"][start:end] = np.arange(batch.first, batch.first + end - start, dtype=np.uint64)
    table = pa.table(list(columns.values()), schema=SCHEMA)
    tsc = columns["tsc"]
    return table if bool(np.all(tsc[1:] >= tsc[:-1])) else table.take(np.argsort(tsc, kind="stable"))


def to_events(table: Any) -> Events:
    """An Arrow table as `TRACE_DTYPE` events."""
    events = np.empty(table.num_rows, TRACE_DTYPE)
    for name in SCHEMA.names[:6]:
        events[name] = table.column(name).to_numpy()
    for index, name in enumerate(ARGUMENTS):
        events["arg"][:, index] = table.column(name).to_numpy()
    return events


def convert_journal(journal: Path, segment: Path) -> int:
    """Turns a closed journal into a segment, which is there whole or not at all; returns the number of events.

    Raises CannotWrite, and the journal stays.
    """
    table = merged(read_journal(journal))
    write_segment(table, segment)
    journal.unlink()
    return int(table.num_rows)


def write_segment(table: Any, segment: Path) -> None:
    """Writes events, which are in the order of time, as a segment. Raises CannotWrite."""
    deltas = (*_DELTAS, *(name for name in ARGUMENTS if _differs(table.column(name))))
    # Arrow takes a name that is not UTF-8 as bytes only.
    with replacing(segment) as partial, pa.OSFile(os.fsencode(partial), "wb") as file:
        pq.write_table(
            table,
            file,
            row_group_size=BATCH_ROWS,
            compression="zstd",
            use_dictionary=[name for name in SCHEMA.names if name not in deltas],
            column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
        )


def _differs(column: Any) -> bool:
    """Is nearly every value of it another one, as far as a sample tells?"""
    sample = column.to_numpy()[:: max(1, len(column) // _SAMPLE_ROWS)]
    return 2 * len(np.unique(sample)) > len(sample)


def open_segment(path: Path) -> Any:
    """A segment's `ParquetFile`, of which nothing is read yet; raises BadData when it is not one of ours."""
    with _damaged(path):
        # A pipe would be waited for.
        if not path.is_file():
            raise ValueError("it is not a file")
        file = pq.ParquetFile(pa.OSFile(os.fsencode(path)))
        if file.metadata.num_rows > _MOST_ROWS:
            raise ValueError(f"it claims {file.metadata.num_rows:,} events")
        if file.schema_arrow.names != SCHEMA.names or file.schema_arrow.types != SCHEMA.types:
            raise BadData(f"{path} has other columns than an event segment; it was written by another version")
        return file


def read_group(path: Path, file: Any, group: int, columns: Sequence[str], wanted: Any | None = None) -> Iterator[Any]:
    """The events of one row group, these columns of them, as Arrow tables of BATCH_ROWS; raises BadData.

    wanted: the numbers of event types, an Arrow array; where there is none of them nothing but the types is read.
    """
    with _damaged(path):
        if wanted is not None and not _has(file, group, wanted):
            return
        asked = columns if wanted is None else list(dict.fromkeys((*columns, "type")))
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=asked):
            table = pa.table(batch)
            if any(column.null_count for column in table.columns):
                raise BadData(f"{path} is damaged: events without all their values; remove it to read the rest")
            # Other writers say otherwise whether there may be nulls.
            table = table.cast(pa.schema([SCHEMA.field(name) for name in table.schema.names]))
            yield table if wanted is None else of_types(table, wanted).select(columns)


def of_types(table: Any, wanted: Any) -> Any:
    """The events of a table that are of one of these types."""
    return table.filter(pc.is_in(table.column("type"), value_set=wanted))


def _has(file: Any, group: int, wanted: Any) -> bool:
    batches = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=["type"])
    return any(pc.any(pc.is_in(batch.column(0), value_set=wanted)).as_py() for batch in batches)


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise BadData(f"{path} is damaged: {why}; remove it to read the rest") from error
