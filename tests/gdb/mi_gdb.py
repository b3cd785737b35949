"""A gdb that stays open, driven over MI: for counting packets, and for what batch mode cannot do."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from machines import SECONDS, wait_for
from pygdbmi.gdbcontroller import GdbController

from bareflow_gdb.qemu.machine import Machine


class MiError(Exception):
    """gdb answered ^error; the message is gdb's."""


class MiGdb:
    """One gdb process; `run` returns the console output of a command."""

    def __init__(self, gdb: Path, *, script: Path | None = None, elf: Path | None = None) -> None:
        words = [str(gdb), "-nx", "--quiet", "--interpreter=mi3"]
        words += ["-x", str(script)] if script else []
        words += [str(elf)] if elf else []
        self._mi = GdbController(words, time_to_check_for_additional_output_sec=0.001)
        self._queue: list[dict[str, Any]] = []
        self._mark = 1000
        self.run("set confirm off")
        self.run("set width 0")

    def __enter__(self) -> MiGdb:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._mi.gdb_process.stdin, self._mi.gdb_process.stdout, self._mi.gdb_process.stderr):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """Ends gdb, which cannot do anything about it."""
        self._mi.gdb_process.kill()
        self._mi.gdb_process.wait()

    @property
    def pid(self) -> int:
        return int(self._mi.gdb_process.pid)

    def children(self, verb: str) -> list[int]:
        """The host programs of this verb that this gdb runs."""
        found = []
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            # One that ends meanwhile is none any more.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if f"\0{verb}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
        return found

    def start(self, command: str) -> None:
        """Sends a console command without waiting for its result."""
        quoted = command.replace("\\", "\\\\").replace('"', '\\"')
        # The second command is answered when the first has ended: a command that lets the guest run and stops it
        # again is answered with ^running, in its midst.
        self._mark += 1
        lines = [f'-interpreter-exec console "{quoted}"', f"{self._mark}-list-features"]
        self._queue.clear()
        self._mi.io_manager.write(lines, read_response=False)

    def run(self, command: str, seconds: float = SECONDS) -> str:
        """The console output of a command; raises MiError when it fails."""
        self.start(command)
        return self.result(command, seconds)

    def result(self, command: str, seconds: float = SECONDS) -> str:
        """Waits for the end of what `start` sent."""
        console, error = "", None
        kept: list[dict[str, Any]] = []
        for answer in self._answers(seconds, command):
            if answer["type"] == "console":
                console += answer["payload"] or ""
            elif answer["type"] == "result" and answer["message"] == "error":
                error = MiError(answer["payload"]["msg"])
            elif answer["type"] == "result" and (answer["token"] or self._mark) < self._mark:
                # Until here an earlier command answered, whose result nobody waited for.
                console, error = "", None
            elif answer["type"] == "result" and answer["token"] == self._mark:
                self._queue[:0] = kept
                if error is not None:
                    raise error
                return console
            elif answer["type"] == "notify":
                kept.append(answer)
        raise AssertionError("unreachable")

    def wait_for_stop(self, seconds: float = SECONDS) -> dict[str, Any]:
        """The next *stopped notification."""
        for answer in self._answers(seconds, "a stop"):
            if answer["type"] == "notify" and answer["message"] == "stopped":
                return dict(answer["payload"] or {})
        raise AssertionError("unreachable")

    def wait_for_running(self, seconds: float = SECONDS) -> None:
        """The next *running notification; what came before it is dropped."""
        for answer in self._answers(seconds, "the guest to run"):
            if answer["type"] == "notify" and answer["message"] == "running":
                return

    def interrupt(self, machine: Machine) -> None:
        """What Ctrl-C does. Not before the guest runs: gdb would send it ahead of its own `continue`, to no effect."""
        wait_for(lambda: machine.status() == "running", "the guest to run")
        os.kill(self.pid, signal.SIGINT)

    def end(self, machine: Machine) -> None:
        """Ends the guest. Not before it runs: gdb 18 aborts when the connection breaks while it sets watchpoints."""
        wait_for(lambda: machine.status() == "running", "the guest to run")
        machine.stop()

    def _answers(self, seconds: float, what: str) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            while self._queue:
                yield self._queue.pop(0)
            self._queue += self._mi.io_manager.get_gdb_response(timeout_sec=0.2, raise_error_on_timeout=False)
            if not self._queue and (code := self._mi.gdb_process.poll()) is not None:
                raise AssertionError(f"gdb ended with {code} while waiting for {what}")
        raise AssertionError(f"gdb did not answer within {seconds:g} s: {what}")
