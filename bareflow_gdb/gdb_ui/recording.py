"""How does gdb record a trace? A child of the host program reads the event rings out of QEMU's RAM."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import child
from bareflow_gdb.render.suggest import shell

START_SECONDS = 20.0
END_SECONDS = 60.0
POLL_SECONDS = 0.02

# What the recorder says once it drains the rings.
STARTED = "recording "


@dataclass(frozen=True)
class Progress:
    """A recording that is under way."""

    state: str
    machine: str
    directory: str
    progress: str


@dataclass
class Recording:
    """The recorder of one machine; `messages` is what it writes to stderr."""

    machine: str
    directory: Path
    process: subprocess.Popen[str]
    messages: IO[str]

    @classmethod
    def start(cls, machine: str, directory: Path, source: str = "") -> Recording:
        """Returns once the recorder drains the rings, or another source; raises BareflowError with its last words
        otherwise.
        """
        # Not a pipe: nobody would read the lines of progress out of it.
        messages = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - lives as long as the recording
        chosen = ("--source", source) if source else ()
        process = child.start("trace", "record", machine, "--out", str(directory), "--json", *chosen, errors=messages)
        recording = cls(machine, directory, process, messages)
        deadline = time.monotonic() + START_SECONDS
        try:
            while not recording.last_line().startswith(STARTED):
                if process.poll() is not None or time.monotonic() > deadline:
                    words = child.last_words(recording.last_line())
                    raise BareflowError(f"the recorder did not start: {words}")
                time.sleep(POLL_SECONDS)
        except BaseException:
            process.terminate()
            raise
        return recording

    def last_line(self) -> str:
        """The last full line that the recorder wrote about its progress."""
        self.messages.seek(0)
        lines = [line for line in self.messages.read().splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def progress(self) -> Progress:
        """How far it is; state is "recording" or "ended"."""
        state = "recording" if self.process.poll() is None else "ended"
        # The recorder speaks to a terminal of its own, and here it has none.
        said = self.last_line().replace("Ctrl-C ends it", "`bf trace stop` ends it")
        return Progress(state, self.machine, str(self.directory), said)

    def end(self) -> dict[str, Any]:
        """Completes the trace and returns its summary; raises BareflowError."""
        self.process.terminate()
        try:
            out, _ = self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            recover = shell("bareflow", "trace", "recover", self.directory)
            raise BareflowError(f"the recorder does not end; `{recover}` completes the trace") from None
        try:
            return dict(json.loads(out))
        except ValueError:
            raise BareflowError(child.last_words(self.last_line())) from None


def new_directory(text: str | None, machine: str) -> Path:
    """Where the trace goes: as asked for, else trace-MACHINE, trace-MACHINE-2, … in the current directory."""
    if text is not None:
        return Path(text).expanduser().absolute()
    for number in range(1, 1000):
        path = Path(f"trace-{machine}" + (f"-{number}" if number > 1 else "")).absolute()
        if not path.exists():
            return path
    raise UsageError("there are 999 traces of this machine here; name a directory: `bf trace start DIR`")
