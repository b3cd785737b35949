"""How is bitcode compiled without risking the process that asks? The parent's side of the LLVM worker."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from bareflow_gdb import libraries
from bareflow_gdb.recompile.death import death
from bareflow_gdb.recompile.pipe import BadFrame, Frame, encode, take_frame
from bareflow_gdb.recompile.recipe import USUAL, Recipe
from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied, Refused
from bareflow_gdb.recompile.verify.snapshot import Snapshot
from bareflow_gdb.recompile.verify.trial import Trial, Verdict
from bareflow_gdb.recompile.worker_words import WorkerWords

WORKER = "bareflow_gdb.recompile.worker"
TIMEOUT_SECONDS = 30.0
MOST_REMARKS, REMARK_CHARACTERS = 200, 240
"""That are kept of one compilation; a loop that was unrolled often is told of once."""
MOST_PASSES = 64
WORDS_SECONDS = 0.02
"""Between two looks at what LLVM says: to wake up for each of its lines would slow it down."""
NONSENSE = "answered with a frame that says something else"
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Compilation:
    """What the worker made of one bitcode at one level."""

    data: bytes
    """ELF32 i386 relocatable object."""
    level: int
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    """What of the bitcode was rewritten for the guest."""
    milliseconds: dict[str, float]
    """Parse, optimise, emit."""
    cached: bool = False
    """It was made before, and kept."""
    passes: tuple[tuple[str, float], ...] = ()
    """Milliseconds of processor time by LLVM's passes, the slowest first."""


def pass_times(told: Any) -> tuple[tuple[str, float], ...]:
    """Names and milliseconds from JSON; raises TypeError, ValueError, OverflowError."""
    return tuple((str(name)[:REMARK_CHARACTERS], round(float(spent), 3)) for name, spent in told[:MOST_PASSES])


class Compiler(contextlib.AbstractContextManager["Compiler"]):
    """A warm LLVM worker process, which compiles one bitcode at a time; one that died is replaced at the next.

    The worker ends with the thread that started it.
    """

    def __init__(self, timeout: float = TIMEOUT_SECONDS, *, verifies: bool = False) -> None:
        """`timeout`: seconds for one compilation, and for the start of a worker. `verifies`: it can run code too."""
        self.timeout = timeout
        self.snapshot = Snapshot() if verifies else None
        """Guest memory for the worker, to be taken before a trial."""
        self._process: subprocess.Popen[bytes] | None = None
        self._words: WorkerWords | None = None
        self._ready = False
        self._task = ""
        """What it is asked to do, after "to"."""
        self._level = 0
        self._unsent = b""
        self._received = bytearray()
        self._deadline = 0.0

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None before the first start."""
        return self._process.pid if self._process else None

    @property
    def busy(self) -> bool:
        """Whether it compiles something: `poll` tells what becomes of it."""
        return bool(self._task)

    def start(self) -> None:
        """Begins to warm a worker up; does not wait for it."""
        if self._process is not None and self._process.poll() is None:
            return
        self._discard()
        # It ends when this process does, and when it has used its time twice over without being ended.
        words = [sys.executable, "-m", WORKER, str(os.getpid()), str(2 * int(self.timeout) + 1)]
        files = [self.snapshot.file] if self.snapshot is not None else []
        words += map(str, files)
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=files,
                env=libraries.environment(),
                start_new_session=True,  # Ctrl-C is for the parent, which then ends it
            )
        except OSError as error:
            raise CompilerDied(f"LLVM's process could not be started ({error.strerror or error}); ask again") from error
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        assert self._process.stderr is not None
        self._words = WorkerWords(self._process.stderr.fileno())
        self._deadline = time.monotonic() + self.timeout

    def wait_ready(self) -> None:
        """Starts a worker if there is none and waits until it is warm; raises CompilerDied."""
        self.start()
        while not self._ready:
            self._turn(self.timeout)

    def begin(self, payload: bytes, entry: str, level: int, recipe: Recipe = USUAL) -> None:
        """Hands a bitcode over; `poll` tells what became of it. Nothing else may be on its way."""
        self._level = level
        head = {"entry": entry, "level": level, "cpu": recipe.cpu, "passes": recipe.passes}
        self._begin(f"compile {entry} at O{level}", head, payload)

    def begin_trial(self, trial: Trial, new: bytes) -> None:
        """Has old and new code compared over the snapshot; `poll_trial` tells what came of it."""
        self._begin("verify the new code", {"trial": trial.to_json()}, new)

    def _begin(self, task: str, head: dict[str, Any], body: bytes) -> None:
        assert not self.busy
        self.start()
        if self._words is not None:
            self._words.forget()
        self._task = task
        self._unsent = encode(head, body)
        self._deadline = time.monotonic() + self.timeout

    def poll(self, seconds: float = 0.0) -> Compilation | None:
        """What was begun, once it is made, None while it is not; waits `seconds` for it.

        Raises BadBitcode when LLVM refuses, CompilerDied when it did not survive.
        """
        frame = self._answer(seconds)
        if frame is None:
            return None
        head, body = frame
        if "refused" in head:
            raise BadBitcode(str(head["refused"]))
        said = dict.fromkeys(line[:REMARK_CHARACTERS] for line in self._said() if line.startswith("remark:"))
        notes, spent = head.get("notes", []), head.get("milliseconds", {})
        if not isinstance(notes, list) or not isinstance(spent, dict):
            raise self._died(NONSENSE)
        try:
            passes = pass_times(head.get("passes", []))
        except (TypeError, ValueError, OverflowError) as error:
            raise self._died(NONSENSE) from error
        remarks = tuple(said)[:MOST_REMARKS]
        return Compilation(body, self._level, remarks, tuple(map(str, notes)), spent, passes=passes)

    def poll_trial(self, seconds: float = 0.0) -> Verdict | None:
        """What came of the trial, None while it goes on; raises CompilerDied."""
        frame = self._answer(seconds)
        if frame is None:
            return None
        try:
            return Verdict.from_json(frame[0]["verdict"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._died(NONSENSE) from error

    def _answer(self, seconds: float) -> Frame | None:
        """The answer to what was begun, which is over then."""
        until = time.monotonic() + seconds
        while (frame := self._turn(until - time.monotonic())) is None:
            if time.monotonic() >= until:
                return None
        self._task = ""
        return frame

    def compile(self, payload: bytes, entry: str, level: int) -> Compilation:
        """Compiles at `level` and waits for it; raises like `poll`."""
        self.begin(payload, entry, level)
        while (made := self.poll(self.timeout)) is None:
            pass
        return made

    def give_up(self) -> None:
        """Ends what it compiles: nobody wants it any more."""
        if self.busy:
            self._discard()

    def close(self) -> None:
        """Ends the worker."""
        self._discard()
        if self.snapshot is not None:
            self.snapshot.close()
            self.snapshot = None

    def _turn(self, seconds: float) -> Frame | None:
        """Moves bytes both ways, waiting at most `seconds` for some; returns the answer to what was begun."""
        try:
            frame = take_frame(self._received)
            if frame is None:
                self._move(max(0.0, min(seconds, self._deadline - time.monotonic())))
                frame = take_frame(self._received)
        except BadFrame as error:
            raise self._died(f"answered with {error}") from error
        if frame is None:
            if time.monotonic() > self._deadline:
                raise self._died(f"did not {self._doing()} within {self.timeout:g} s and was ended", "lower the level")
            return None
        if not self._ready:
            self._ready = True
            self._deadline = time.monotonic() + self.timeout
            return None
        return frame

    def _move(self, seconds: float) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        if self._words is not None:
            self._words.take()
        ready = select.poll()
        ready.register(process.stdout, select.POLLIN)
        if self._unsent:
            ready.register(process.stdin, select.POLLOUT)
        for handle, _ in ready.poll(min(seconds, WORDS_SECONDS) * 1e3):
            if handle == process.stdout.fileno():
                data = os.read(handle, _CHUNK)
                if not data:
                    raise self._ended(process)
                self._received += data
            else:
                try:
                    self._unsent = self._unsent[os.write(handle, self._unsent[:_CHUNK]) :]
                except BrokenPipeError:
                    self._unsent = b""  # seen again as the end of its answers

    def _ended(self, process: subprocess.Popen[bytes]) -> Refused:
        code, said, task = process.wait(), self._said(), self._doing()
        self._discard()
        return death(task, code, said)

    def _died(self, how: str, advice: str = "ask again") -> CompilerDied:
        self._discard()
        return CompilerDied(f"LLVM {how}; {advice}")

    def _doing(self) -> str:
        return self._task if self._task and self._ready else "start"

    def _said(self) -> list[str]:
        return self._words.lines() if self._words is not None else []

    def _discard(self) -> None:
        process, self._process, self._words = self._process, None, None
        self._task, self._unsent, self._ready = "", b"", False
        self._received.clear()
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError), process:
                pass  # its pipes are closed and it is waited for
