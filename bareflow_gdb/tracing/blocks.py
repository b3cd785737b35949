"""How are the events of a trace read, a block at a time, so that memory is bounded?

A block is a row group of a segment, or a journal that is no segment yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bareflow_gdb.errors import BadData
from bareflow_gdb.tracing import journal, segments

_MAX_FILES = 20_000


# Gives these columns of a block's events, of all or those of the wanted types, as small tables.
Block = Callable[[Sequence[str], Any | None], Iterator[Any]]


def blocks(directory: Path) -> Iterator[Block]:
    """All blocks, in the order of recording. Raises BadData."""
    for number in numbers(directory):
        if segment(directory, number).exists():
            yield from _of_segment(segment(directory, number))
        else:
            yield partial(_read_journal, directory, number)


def last(directory: Path, count: int, wanted: Any | None = None) -> Any:
    """The last events in time, an Arrow table; twice as many, and a batch, are in memory. Raises BadData."""
    kept = segments.SCHEMA.empty_table()
    for block in reversed(list(blocks(directory))) if count > 0 else ():
        if kept.num_rows == count and not _reaches(block, kept.column("tsc")[0].as_py()):
            continue
        end = segments.SCHEMA.empty_table()
        for part in block(segments.SCHEMA.names, wanted):
            end = _end(in_order((end, part)), count)
        kept = _end(in_order((end, kept)), count)
    return kept


def _reaches(block: Block, tsc: int) -> bool:
    """Is anything in a block later? Its statistics would say: Arrow aborts the process over damaged ones."""
    return any(part.column("tsc").to_numpy().max(initial=0) > tsc for part in block(("tsc",), None))


def _end(table: Any, count: int) -> Any:
    return table.slice(max(0, table.num_rows - count))


def in_order(parts: Iterable[Any]) -> Any:
    """Tables of events joined, in the order of time."""
    table = pa.concat_tables([segments.SCHEMA.empty_table(), *parts])
    tsc = table.column("tsc").to_numpy()
    if not bool(np.all(tsc[1:] >= tsc[:-1])):
        table = table.take(pa.array(np.argsort(tsc, kind="stable")))
    return table


def numbers(directory: Path) -> list[str]:
    """The numbers, as they are written in file names, of all segments and journals. Raises BadData."""
    found = {*numbered(directory, segments.NAME), *numbered(directory, journal.NAME)}
    if len(found) > _MAX_FILES:
        raise BadData(f"{directory} holds {len(found)} segments of events; no recorder makes that many")
    return sorted(found, key=lambda number: (len(number), number))


def numbered(directory: Path, name: re.Pattern[str]) -> dict[str, Path]:
    """The files of a directory with such a name, by their number as it is written there."""
    matches = ((path, name.fullmatch(path.name)) for path in directory.iterdir())
    return {match[1]: path for path, match in matches if match is not None}


def segment(directory: Path, number: str) -> Path:
    """The Parquet file with a number as it is written."""
    return directory / f"events-{number}.parquet"


def journalled(directory: Path, number: str) -> Any | None:
    """The events of a journal as an Arrow table in the order of time, None when it has just become a segment.

    Raises BadData.
    """
    try:
        return segments.merged(journal.read_journal(directory / f"journal-{number}.raw"))
    except BadData:
        if segment(directory, number).exists():
            return None
        raise


def _of_segment(path: Path) -> Iterator[Block]:
    file = segments.open_segment(path)
    for group in range(file.num_row_groups):
        yield partial(segments.read_group, path, file, group)


def _read_journal(directory: Path, number: str, columns: Sequence[str], wanted: Any | None) -> Iterator[Any]:
    table = journalled(directory, number)
    if table is None:
        for block in _of_segment(segment(directory, number)):
            yield from block(columns, wanted)
        return
    for first in range(0, table.num_rows, segments.BATCH_ROWS):
        part = table.slice(first, segments.BATCH_ROWS)
        yield (part if wanted is None else segments.of_types(part, wanted)).select(columns)
