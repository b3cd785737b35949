"""How do drained events survive the recorder being killed?

The open segment is a raw file: for each batch a 32-byte chunk header, then the records as the guest wrote
them, handed to the kernel before the reader goes on. Whoever opens the trace later reads what is complete.
Journal N is turned into the Parquet segment N and then removed; when both are there the segment is whole and
the journal is not needed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bareflow_gdb.errors import BadData
from bareflow_gdb.files import private_opener, writing
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch

NAME = re.compile(r"journal-([0-9]+)\.raw")
_MAGIC = 0x4A464342  # "BCFJ"
_CHUNK = struct.Struct("<IIIIQQ")  # magic, ring, records, 0, first sequence number, lost before
_MAX_JOURNAL = 256 << 20


def journal_path(directory: Path, number: int) -> Path:
    """The raw file of segment `number`."""
    return directory / f"journal-{number:03d}.raw"


class JournalWriter:
    """Appends batches to one journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        with writing(path):
            self._file = open(path, "xb", buffering=0, opener=private_opener)  # noqa: SIM115 - closed by `close`

    def write(self, batch: Batch) -> None:
        """Appends a batch; when this returns, only a crash of the host can lose it. Raises CannotWrite."""
        events = np.ascontiguousarray(batch.events)
        header = _CHUNK.pack(_MAGIC, batch.ring, len(events), 0, batch.first, batch.lost)
        # One buffer for header and records: a chunk is then one system call.
        with writing(self.path):
            self._write_all(header + events.tobytes())
        self.records += len(events)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            view = view[written or 0 :]

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


def read_journal(path: Path) -> Iterator[Batch]:
    """The batches of a journal, the last one cut where the recorder was killed.

    Raises BadData when the file is not a journal; what follows a damaged chunk is left out.
    """
    try:
        # A pipe would be waited for.
        if not path.is_file():
            raise BadData(f"{path} is not a file; remove it to read the rest of the trace")
        size = path.stat().st_size
        if size > _MAX_JOURNAL:
            raise BadData(f"{path} has {size} bytes, more than any recorder leaves behind; it is not a journal")
        data = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error
    position = 0
    while position + _CHUNK.size <= len(data):
        magic, ring, count, _, first, lost = _CHUNK.unpack_from(data, position)
        if magic != _MAGIC:
            if position == 0:
                raise BadData(f"{path} is not an event journal; remove it to read the rest of the trace")
            return
        position += _CHUNK.size
        count = min(count, (len(data) - position) // EVENT_DTYPE.itemsize)
        events = np.frombuffer(data, EVENT_DTYPE, count, position)
        position += count * EVENT_DTYPE.itemsize
        expected = np.arange(first & 0xFFFFFFFF, (first & 0xFFFFFFFF) + count, dtype=np.uint64)
        good = events["seq"] == expected.astype(np.uint32)
        if not good.all():
            events = events[: int(np.flatnonzero(~good)[0])]
        yield Batch(ring & 0xFF, events, first, lost)
