"""What does a file hold that anybody may have put there: is it one, its first bytes, its JSON?"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import IO, Any

_OTHERS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFile(ValueError):
    """Something else has the name of a file; `kind` says what."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"it is {kind}, not a file")
        self.kind = kind


def open_plain(path: Path, flags: int = os.O_RDONLY) -> IO[bytes]:
    """The file at `path`, to read; with O_RDWR its number is good for more. Waits for nobody: a pipe is none.

    Raises OSError when it cannot be opened, ValueError when it has no possible name, NotAFile.
    """
    try:
        handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # Opening a socket fails; what it is says more than the reason.
        kind = _kind_of(path)
        if kind == "a socket":
            raise NotAFile(kind) from error
        raise
    kind = _OTHERS.get(stat.S_IFMT(os.fstat(handle).st_mode), "")
    if kind:
        os.close(handle)
        raise NotAFile(kind)
    return os.fdopen(handle, "rb")


def _kind_of(path: Path) -> str:
    try:
        return _OTHERS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:
        return ""


def read_start(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file. Raises like `open_plain`."""
    with open_plain(path) as file:
        return file.read(most)


def read_end(path: Path, most: int) -> bytes:
    """The last `most` bytes of a file. Raises like `open_plain`."""
    with open_plain(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - most))
        return file.read(most)


def read_small(path: Path, most: int) -> bytes:
    """All bytes of a file. Raises ValueError when it has more than `most`, and like `read_start`."""
    data = read_start(path, most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def parse_json(text: bytes | str) -> Any:
    """What the JSON says. Raises ValueError for anything else, also for what nests deeper than Python counts."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def read_json(path: Path, most: int) -> Any:
    """What a file of at most `most` bytes says. Raises OSError, ValueError."""
    return parse_json(read_small(path, most))
