"""How do events become Parquet files, and how are these read back?

A segment `events-NNN.parquet` is complete on its own: sorted by TSC, zstd, the schema's version in its
metadata.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bareflow_gdb.errors import BadData
from bareflow_gdb.files import replacing
from bareflow_gdb.tracing.events import TRACE_DTYPE, Events, to_trace
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
_DELTAS = ("tsc", "seq")
_MOST_ROWS = 8 << 20


def segment_path(directory: Path, number: int) -> Path:
    """The Parquet file of segment `number`."""
    return directory / f"events-{number:03d}.parquet"


def to_table(events: Events) -> Any:
    """`TRACE_DTYPE` events as an Arrow table."""
    columns = [np.ascontiguousarray(events[name]) for name in SCHEMA.names[:6]]
    columns += [np.ascontiguousarray(events["arg"][:, index]) for index in range(len(ARGUMENTS))]
    return pa.table(columns, schema=SCHEMA)


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
    table = to_table(to_trace(read_journal(journal)))
    with replacing(segment) as partial:
        pq.write_table(
            table,
            partial,
            compression="zstd",
            use_dictionary=[name for name in SCHEMA.names if name not in _DELTAS],
            column_encoding=dict.fromkeys(_DELTAS, "DELTA_BINARY_PACKED"),
        )
    journal.unlink()
    return int(table.num_rows)


def read_segment(path: Path, columns: Sequence[str] | None = None) -> Any:
    """The Arrow table of a segment, all columns or some; raises BadData when it is truncated or not one of ours."""
    try:
        # A pipe would be waited for.
        if not path.is_file():
            raise ValueError("it is not a file")
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > _MOST_ROWS:
            raise ValueError(f"it claims {file.metadata.num_rows:,} events")
        if file.schema_arrow.names != SCHEMA.names or file.schema_arrow.types != SCHEMA.types:
            raise BadData(f"{path} has other columns than an event segment; it was written by another version")
        table = file.read(columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = str(error).partition("\n")[0]
        raise BadData(f"{path} is damaged: {why}; remove it to read the rest") from error
    if any(column.null_count for column in table.columns):
        raise BadData(f"{path} is damaged: events without all their values; remove it to read the rest")
    # Other writers say otherwise whether there may be nulls.
    return table.cast(pa.schema([SCHEMA.field(name) for name in table.schema.names]))
