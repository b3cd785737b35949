"""How does `bf recompile` run the compiler? As a child of the host program, while gdb lets the guest run."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import child


class Compiler:
    """The child and the thread that takes its output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.interrupt_when_done = False
        self._out = ""
        self._err = ""
        self._done = threading.Event()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        self._out, self._err = self.process.communicate()
        self._done.set()
        # Only then: an event that nobody takes any more crashes gdb 13 at its exit.
        if self.interrupt_when_done:
            gdb.post_event(self._stop_guest)

    def _stop_guest(self) -> None:
        # Runs in gdb's own thread, while the foreground `continue` waits for events.
        if self.interrupt_when_done:
            gdb.execute("interrupt")

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float | None) -> bool:
        """Waits for the child; a Ctrl-C ends the waiting."""
        return self._done.wait(seconds)

    def answer(self) -> dict[str, Any]:
        """What the child printed; raises BareflowError with its last words when that is no answer."""
        try:
            record = json.loads(self._out)
        except ValueError:
            raise BareflowError(child.last_words(self._err)) from None
        return dict(record)


@contextmanager
def compiler(*words: str) -> Iterator[Compiler]:
    """The running child; ended on every way out."""
    process = child.start("recompile", *words)
    try:
        yield Compiler(process)
    finally:
        if process.poll() is None:
            process.terminate()
