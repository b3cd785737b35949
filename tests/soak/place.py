"""Where do the rounds of a soak happen? Machines, programs and folders that end with their round, whatever it does."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from machines import QUICK, T, wait_for

from bareflow_gdb.cli import main as cli
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu import directory
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "build" / "firmware"
BAREFLOW = (sys.executable, "-m", "bareflow_gdb.cli.main")
SECONDS = 60.0
"""What did not come in that time did not come: a round must not take the others' time."""
_MINE = f"soak{os.getpid()}-"
_CLEANS = re.compile(r"`bareflow (stop [^`]+)`")


@dataclass(frozen=True)
class Said:
    """What a program said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Program:
    """`bareflow WORDS` as a process of its own, whose output goes to files: nobody has to read it in time."""

    def __init__(self, folder: Path, words: tuple[str, ...], environment: Mapping[str, str], before: Any) -> None:
        self.words = words
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**os.environ, "NO_COLOR": "1", **environment},
                preexec_fn=before,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As the out-of-memory killer does."""
        self.process.kill()
        self.process.wait(SECONDS)

    def said(self) -> Said:
        """So far."""
        code = self.process.poll()
        return Said(-1 if code is None else code, self._out.read_text("utf-8"), self._err.read_text("utf-8"))

    def result(self, seconds: float = SECONDS) -> Said:
        """Waits for its end; raises subprocess.TimeoutExpired."""
        self.process.wait(seconds)
        return self.said()


class Place:
    """Gives out machines, folders and programs. After `round` none of them is there any more."""

    def __init__(self, folder: Path) -> None:
        """`folder`: an empty one."""
        self.folder = folder
        self._round = ExitStack()
        self._numbers = count()
        self._programs: list[Program] = []
        self._kept: set[str] = set()
        """Names of machines that outlive a round."""

    @contextmanager
    def round(self) -> Iterator[None]:
        """Whatever is begun in the block ends with it."""
        with ExitStack() as self._round:
            self._programs = []
            yield

    def heard(self) -> str:
        """What the programs of this round said, for whoever looks at a failure."""
        parts = []
        for program in self._programs:
            with suppress(OSError, UnicodeDecodeError):
                said = program.said()
                parts.append(f"$ {' '.join(program.words)}\nexit code {said.code}\n{said.out}{said.err}")
        return "\n".join(parts)

    def new(self, kind: str, kept: ExitStack | None = None) -> Path:
        """An empty folder."""
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.folder))
        (kept or self._round).callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def machine(self, stage: str | None = "idle", kept: ExitStack | None = None, **settings: Any) -> Machine:
        """One that has come to `stage`; it ends with the round, or with `kept`."""
        words = RootSettings(**{"thresholds": QUICK, **settings})
        name = f"{_MINE}{next(self._numbers)}"
        machine = launch(FIRMWARE / "fluid.img", name=name, settings=words)
        if kept is not None:
            self._kept.add(name)
        (kept or self._round).callback(machine.stop)
        if stage is not None:
            wait_for_stage(machine, stage, SECONDS)
        return machine

    def start(self, *words: str | Path, before: Any = None, wrap: tuple[str, ...] = (), **environment: str) -> Program:
        """`bareflow WORDS`; `before` runs in its process first, `wrap` stands before the line."""
        line = (*wrap, *BAREFLOW, *map(str, words))
        program = Program(self.new("said"), line, environment, before)
        self._programs.append(program)
        self._round.callback(_end, program)
        return program

    def left(self) -> list[str]:
        """Directories and RAM files of machines of rounds that are over."""
        rooms = directory.SHARED_MEMORY, Path("/var/tmp")
        files = [path for room in rooms for path in room.glob(f"bareflow-{_MINE}*")]
        files += directory.root().glob(f"{_MINE}*")
        return [path.name for path in files if not any(re.search(rf"\b{name}\b", path.name) for name in self._kept)]

    def ask(self, *words: str | Path) -> Said:
        """`bareflow WORDS`, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main([*map(str, words)])
        said = Said(code, out.getvalue(), err.getvalue())
        no_traceback(said)
        return said


def until(condition: Callable[[], T], what: str) -> T:
    """The first true value of `condition`; raises AssertionError when there is none in time."""
    return wait_for(condition, what, SECONDS)


def _end(program: Program) -> None:
    """With what it started itself: its session is its own."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.process.wait(SECONDS)


def no_traceback(said: Said) -> None:
    """Whatever a program says, it is in sentences."""
    assert "Traceback" not in said.text and "a defect in bareflow" not in said.text, said.text


def one_sentence(said: Said) -> None:
    """It could not do it, and said so in a line that is its last."""
    no_traceback(said)
    assert said.code == 2, f"exit code {said.code}: {said.text}"
    lines = [line for line in said.err.splitlines() if line.startswith("bareflow ")]
    assert len(lines) == 1 and said.err.endswith(f"{lines[0]}\n"), said.text


def cleaned_up(place: Place, machine: Machine) -> None:
    """A machine whose QEMU was killed: `list` names it and the command that removes all that is left of it."""
    listed = place.ask("list")
    line = next((line for line in listed.out.splitlines() if line.startswith(f"{machine.name} ")), "")
    assert "QEMU has ended" in line, listed.text
    hint = _CLEANS.search(line)
    assert hint is not None, line
    stopped = place.ask(*hint[1].split())
    assert stopped.code == 0, stopped.text
    assert not machine.directory.exists() and not machine.ram_path.exists() and not machine.gdb_socket.exists()
    assert machine.name not in place.ask("list").out
