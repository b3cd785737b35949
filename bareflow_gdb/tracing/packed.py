"""How does a trace become one file, to be sent? A tar file of its files, which `tar -xf` takes out again."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bareflow_gdb.errors import BadData
from bareflow_gdb.files import PRIVATE, replacing
from bareflow_gdb.small_files import open_plain
from bareflow_gdb.tracing import codes, journal, manifest, segments
from bareflow_gdb.tracing.store import changing

_FOLDERS = (codes.FOLDER, "memory")
_FILES = re.compile(
    rf"{segments.NAME.pattern}|{journal.NAME.pattern}|{re.escape(manifest.FILE)}|serial\.log|symbols\.json"
)


def pack(directory: Path, out: Path) -> int:
    """Writes the tar file; returns its size in bytes. What is in the folder and of no trace is left out.

    Raises UsageError when it is no trace, or still being recorded; BadData, CannotWrite.
    """
    manifest.load(directory)
    name = directory.resolve().name
    with changing(directory), replacing(out) as partial:
        # The level that costs little: events and memory are compressed already.
        with (
            partial.open("wb") as file,
            gzip.GzipFile("", "wb", 1, file, 0) as packed,
            tarfile.TarFile(mode="w", fileobj=packed) as tar,
        ):
            for path in sorted(_parts(directory)):
                try:
                    part = open_plain(path)
                except (OSError, ValueError) as error:
                    raise BadData(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
                with part:
                    entry = tarfile.TarInfo(f"{name}/{path.relative_to(directory)}")
                    about = os.fstat(part.fileno())
                    entry.size, entry.mtime, entry.mode = about.st_size, int(about.st_mtime), PRIVATE
                    tar.addfile(entry, part)
        return partial.stat().st_size


def _parts(directory: Path) -> Iterator[Path]:
    """Its files. A link could lead to any file of the user's, who is about to send this."""
    folders = [directory / name for name in _FOLDERS]
    places = [directory, *(folder for folder in folders if folder.is_dir() and not folder.is_symlink())]
    for place in places:
        for path in place.iterdir():
            if path.is_file() and not path.is_symlink() and (place != directory or _FILES.fullmatch(path.name)):
                yield path
