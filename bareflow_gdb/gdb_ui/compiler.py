"""How does `bf recompile` run the compiler? In a child of the host program, while gdb lets the guest run.

The child lives as long as the connection, so that LLVM is warm from the second request on.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

import gdb

from bareflow_gdb import foreign
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import child
from bareflow_gdb.guest.code.outcome import Outcome


class Request:
    """One question to the child, and the thread that waits for its answer."""

    def __init__(self, answers: IO[str], errors: IO[str]) -> None:
        self.interrupt_when_done = False
        self._errors = errors
        self._line = ""
        self._done = threading.Event()
        threading.Thread(target=self._collect, args=(answers,), daemon=True).start()

    def _collect(self, answers: IO[str]) -> None:
        try:
            # Nothing when the child ends first.
            self._line = answers.readline()
        finally:
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
        """Waits for the answer; a Ctrl-C ends the waiting."""
        return self._done.wait(seconds)

    def answer(self) -> Outcome:
        """What became of it; raises BareflowError with the child's sentence."""
        try:
            record = dict(json.loads(self._line))
        except ValueError:
            raise BareflowError(_last_words(self._errors)) from None
        for line in record.get("lines", ()):
            gdb.write(foreign.lines(f"{line}\n"), gdb.STDERR)
        if "error" in record:
            raise BareflowError(str(record["error"]))
        return Outcome.from_json(record)


class Compiler:
    """The child that answers for one machine."""

    def __init__(self, machine: str) -> None:
        # Not a pipe: nobody would read it while the child answers.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - lives as long as the child
        self.process = child.start("compiler", machine, errors=self._errors, questions=True)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @contextlib.contextmanager
    def request(self, question: Mapping[str, Any]) -> Iterator[Request]:
        """Asks, as `bareflow compiler --help` says. The child ends if the request is given up."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            self.end()
            raise BareflowError(_last_words(self._errors)) from error
        request = Request(self.process.stdout, self._errors)
        try:
            yield request
        finally:
            if not request.done:
                self.end()

    def end(self) -> None:
        """Ends the child, whatever it does."""
        self.process.terminate()


def _last_words(errors: IO[str]) -> str:
    errors.seek(0)
    return child.last_words(errors.read())
