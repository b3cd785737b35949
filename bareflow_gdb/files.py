"""How does a file come to be there whole, or not at all? And how is one opened that a user names?"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bareflow_gdb.errors import Unreachable, UsageError

_OTHERS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path) -> IO[bytes]:
    """The file at `path`, to read. Waits for nobody: a pipe is refused, as a device is.

    Raises UsageError when it is no file, Unreachable when it cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        # Opening a socket fails; what it is says more than the reason.
        kind = _kind(path)
        if kind == "a socket":
            raise UsageError(f"{path} is a socket; a gdbstub's is written unix:{path}") from error
        raise Unreachable(f"{path} cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    file = os.fdopen(handle, "rb")
    kind = next((name for test, name in _OTHERS if test(os.fstat(handle).st_mode)), "")
    if kind:
        file.close()
        raise UsageError(f"{path} is {kind}, not a file; write its bytes to a file first, and give that")
    return file


def _kind(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    return next((name for test, name in _OTHERS if test(mode)), "")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes the place of `path` when the block ends well, else it goes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | str, mode: int = 0o666) -> None:
    """Writes a file that never exists half-written; `mode` as for a new file, less the umask."""
    with replacing(path) as partial:
        partial.touch(mode)
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
