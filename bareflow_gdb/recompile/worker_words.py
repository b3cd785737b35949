"""What did LLVM say? Its remarks, and the last words of a worker that died: the first and the last of what comes in."""

from __future__ import annotations

import contextlib
import fcntl
import os

FIRST_BYTES = 256 << 10
LAST_BYTES = 16 << 10
PIPE_BYTES = 1 << 20
_CHUNK = 1 << 16
_MOST_CHUNKS = 64
"""Taken at a time, so that a flood keeps nobody who has something else to look at."""


class WorkerWords:
    """The reading end of the pipe that is the worker's standard error.

    A flood of remarks costs bounded memory, and does not hide why the worker died.
    """

    def __init__(self, handle: int) -> None:
        """`handle`: of the pipe, which must not block and stays the caller's."""
        self._handle = handle
        with contextlib.suppress(OSError):  # beyond what the system grants a user
            fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._first = bytearray()
        self._last = bytearray()

    def take(self) -> None:
        """Takes what is there."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MOST_CHUNKS):
                chunk = os.read(self._handle, _CHUNK)
                if not chunk:
                    return
                self._keep(chunk)

    def forget(self) -> None:
        """What was said so far belongs to what is over."""
        self.take()
        self._first.clear()
        self._last.clear()

    def lines(self) -> list[str]:
        """Without empty ones, and without what came between the first and the last that is kept."""
        self.take()
        text = bytes(self._first + self._last).decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.strip()]

    def _keep(self, chunk: bytes) -> None:
        room = max(0, FIRST_BYTES - len(self._first))
        self._first += chunk[:room]
        self._last += chunk[room:]
        if len(self._last) > LAST_BYTES:
            del self._last[:-LAST_BYTES]
            if not self._first.endswith(b"\n"):
                self._first += b"\n"
