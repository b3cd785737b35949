"""Is this process still that process, and does it still run?"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path


def started_at(pid: int) -> str | None:
    """When process `pid` started, in kernel ticks, which with the pid names it. None: gone, or a zombie."""
    try:
        text = os.fsdecode(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rsplit(")", 1)[1].split()
    return None if after_name[0] in "ZX" else after_name[19]


def is_stopped(pid: int) -> bool:
    """Was the process stopped, by a signal or by its debugger?"""
    try:
        text = os.fsdecode(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rsplit(")", 1)[1].split()[0] in "Tt"


class Process:
    """A process held by a pidfd: a reused pid is never mistaken for it, and asking costs a microsecond."""

    def __init__(self, pid: int, started: str | None = None) -> None:
        """`started` is what `started_at` said when the process was new; another value means it is gone."""
        self.pid = pid
        self._handle: select.epoll | None = None
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        # Compared after the pidfd is open: from here on the pid cannot be reused unnoticed.
        if started is not None and started_at(pid) != started:
            os.close(handle)
            return
        # Closes the descriptor at its end, without Python: an interrupt in a `__del__` is a traceback.
        self._handle = select.epoll.fromfd(handle)

    def alive(self) -> bool:
        """True while it runs; a zombie does not."""
        return not self._ended(0)

    def wait(self, seconds: float) -> bool:
        """Waits for its end; True when it has ended."""
        return self._ended(seconds * 1000)

    def _ended(self, milliseconds: float) -> bool:
        if self._handle is None:
            return True
        # A poll object of its own: several threads may ask at once.
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def kill(self, number: signal.Signals) -> None:
        """Sends a signal, unless it is gone."""
        if self._handle is not None and self.alive():
            signal.pidfd_send_signal(self._handle.fileno(), number)
