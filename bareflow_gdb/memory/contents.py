"""What bytes does a file hold? A plain one is read where it is asked; gzip and zstd are unpacked, up to a bound.

Read, not mapped: a file that shrinks meanwhile gives fewer bytes, where a mapping would end the program.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.files import open_regular

UNPACKED_BYTES = 512 << 20
"""What is unpacked at most: more than any core of a guest that this suite has met."""
ROOM_TO_SPARE = 64 << 20
_PIECE = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Contents:
    """The bytes of the file at `path`, unpacked when it is compressed.

    Raises UsageError when it is no file, Unreachable when it cannot be opened, BadData when nothing is in it.
    """

    def __init__(self, path: Path, *, may_be_empty: bool = False) -> None:
        self.path = path
        self.file: IO[bytes] = open_regular(path)
        self.packed = ""
        """How it is compressed: "gzip", "zstd", "" = not."""
        self.note = ""
        """What of a compressed file is missing, and why."""
        magic = self.read(0, 4)
        if magic.startswith(_GZIP) or magic == _ZSTD:
            self.packed = "zstd" if magic == _ZSTD else "gzip"
            self._unpack()
        self.size = os.fstat(self.file.fileno()).st_size
        if not self.size and not may_be_empty:
            why = f": {self.note}" if self.note else ""
            raise BadData(f"{path} is empty{why}; give a core, a dump, a trace or a running machine")

    def read(self, at: int, size: int) -> bytes:
        """At most `size` bytes from there on: fewer at the end."""
        try:
            return os.pread(self.file.fileno(), size, at) if size > 0 else b""
        except (OSError, OverflowError) as error:
            raise Unreachable(f"{self.path} cannot be read ({error})") from error

    def _unpack(self) -> None:
        packed, self.file = self.file, tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        pieces = _inflated(packed) if self.packed == "gzip" else _decoded(packed)
        room = shutil.disk_usage(tempfile.gettempdir()).free - ROOM_TO_SPARE
        bound = max(0, min(UNPACKED_BYTES, room))
        size = 0
        try:
            for piece in pieces:
                part = piece[: bound - size]
                # Guest memory is mostly zeros: those take no room as a hole.
                if part.count(0) == len(part):
                    self.file.seek(len(part), os.SEEK_CUR)
                else:
                    self.file.write(part)
                size += len(part)
                if len(part) < len(piece):
                    self.note = f"only its first {bound:,} bytes were unpacked; unpack all of it with `{self.tool}`"
                    break
        except (OSError, zlib.error, EOFError, ValueError) as error:
            self.note = f"its {self.packed} data ends or is damaged after {size:,} bytes ({str(error) or 'cut off'})"
        finally:
            packed.close()
        self.file.flush()
        self.file.truncate(size)

    @property
    def tool(self) -> str:
        """The command that unpacks it beside itself."""
        return {"gzip": "gunzip -k", "zstd": "zstd -d"}[self.packed]


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    """Every member of a gzip file, in pieces of bounded size. Raises zlib.error, EOFError."""
    rest = b""
    while rest := rest or file.read(_PIECE):
        inflater = zlib.decompressobj(wbits=31)
        while not inflater.eof:
            if piece := inflater.decompress(rest, _PIECE):
                yield piece
            rest = inflater.unconsumed_tail
            if not rest and not inflater.eof and not (rest := file.read(_PIECE)):
                yield inflater.flush(_PIECE)
                raise EOFError
        # Zeros may pad the last member.
        rest = inflater.unused_data.lstrip(b"\0")


def _decoded(file: IO[bytes]) -> Iterator[bytes]:
    """A zstd file in pieces. Raises OSError, ImportError inside a Python without PyArrow is a BadData."""
    try:
        import pyarrow
    except ImportError as error:
        raise BadData("this Python cannot unpack zstd; unpack the file with `zstd -d`") from error
    file.seek(0)
    with pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd") as stream:
        while piece := stream.read(_PIECE):
            yield piece
