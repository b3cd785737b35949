"""`bareflow demo`: the main job, end to end, on real guests; every figure is read from the run."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import PRIVATE_FOLDER, write_atomically
from bareflow_gdb.qemu.default import llama_image

GROUP = "do"
HELP = "run the main job, narrated: boot, trace, recompile, step a swap, report, a language model"
# -P: what lies in the current directory is not to be taken for the suite.
BAREFLOW = (sys.executable, "-P", "-m", "bareflow_gdb.cli.main")
REPORT = "report.html"
LEFT = (REPORT, "serial.log", "summary.txt", "trace")
ANSWERED, ANSWER_SECONDS = "[llama] tokens:", 120
"""What the guest says at the end of its answer, which takes some seconds."""
SWAPPED, RECOMPILED = "primes", "gemm_tile"
"""The second is called after the first, so that both stops come in one run; what the host makes is at O3 before it."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("bareflow-demo"),
        help=f"for {', '.join(LEFT)}; replaces those of an earlier demo (default bareflow-demo)",
    )
    parser.add_argument("--gdb", metavar="PATH", help="the gdb to use, as for `bareflow gdb`")
    parser.add_argument("--thresholds", metavar="A,B,C", help="calls for O1, O2, O3 (default 100,1000,10000)")


def main(options: argparse.Namespace) -> int:
    started = time.monotonic()
    prepare(options.out)
    demo = Demo(options.out, f"demo-{os.getpid()}", options.gdb, sys.stderr if options.json else sys.stdout)
    demo.show(options.thresholds)
    seconds = round(time.monotonic() - started, 1)
    demo.say(f"\nDone in {seconds} s. {demo.out} holds {', '.join(LEFT)}; open {demo.out / REPORT}.")
    if options.json:
        print(json.dumps({"out": str(demo.out), "files": LEFT, "seconds": seconds}))
    return 0


def prepare(out: Path) -> None:
    """Makes the directory, empty; raises UsageError when it holds something that no demo left there."""
    out.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    names = {each.name for each in out.iterdir()}
    if names and not {REPORT} <= names <= {*LEFT}:
        raise UsageError(f"{out} holds other files than a demo's; give --out a new directory")
    for name in names:
        shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()


@dataclass(frozen=True)
class Demo:
    """One run, its commands shown as a person would type them."""

    out: Path
    machine: str
    debugger: str | None
    narration: TextIO

    def show(self, thresholds: str | None) -> None:
        """Raises BareflowError when a step does not do what it shows."""
        self._title(1, "The unikernel boots, runs its modules, registers functions with the adaptive JIT")
        chosen = ["--thresholds", thresholds] if thresholds else []
        try:
            self._run("run", "--name", self.machine, "--hold", "--wait", "registered", *chosen)
            self._at_the_machine()
        except BaseException:
            subprocess.run([*BAREFLOW, "stop", self.machine], capture_output=True)
            raise
        trace, report, text = (str(self.out / name) for name in ("trace", REPORT, "summary.txt"))
        self._run("report", trace, "--out", report, "--text", text)
        self._title(
            7, "A language model writes in the guest. The host compiles its kernels in mid-sentence, the words stay"
        )
        self._write_with_model()

    def _at_the_machine(self) -> None:
        self._run("log", self.machine)
        self._title(2, "gdb attaches and shows it")
        self._gdb(*(f"bf {question}" for question in ("boot", "modules", "pools", "profile", "jit")))

        self._title(
            3, "Every swap is traced from here on. The host's LLVM takes a function from O0 to O3 before the run"
        )
        with self._recorded():
            self._gdb(f"bf recompile {RECOMPILED} --tier O3")
            self._title(4, "The run: gdb steps through a swap, and stops at the first call of the host's code")
            self._gdb(
                "bf release",
                f"bf step-swap {SWAPPED} --stay",
                f"bf break jit:{RECOMPILED}@O3",
                "continue",
                "backtrace",
                "finish",
            )
            self._title(5, "The guest goes on to the end of its run; every swap can be told")
            self._run("wait", self.machine, "idle")
            self._run("swaps", self.machine)

        self._title(6, "The guest ends; the report is made from its trace")
        write_atomically(self.out / "serial.log", (self.out / "trace" / "serial.log").read_bytes())
        self._run("stop", self.machine)

    def _write_with_model(self) -> None:
        from bareflow_gdb.model.packed_file import SMALL

        machine = f"{self.machine}-llama"
        with tempfile.TemporaryDirectory(prefix="bfd-") as folder:
            disk = Path(folder) / "model.img"
            self._run("build", "disk", "--output", str(disk), str(SMALL))
            # Few calls are enough for each tier: the model is small, and its answer short.
            chosen = ("--image", str(llama_image()), "--disk", str(disk), "--cpu", "max", "--thresholds", "50,200,600")
            try:
                self._run("run", "--name", machine, *chosen)
                with self._served(machine):
                    self._read(machine)
                    self._run("chat", machine, "--say", "Tell me a story about a dog.", "--tokens", "40")
                self._run("swaps", machine)
            finally:
                self._run("stop", machine)

    def say(self, text: str) -> None:
        """Tells it as it happens."""
        print(text, file=self.narration, flush=True)

    def _title(self, number: int, text: str) -> None:
        self.say(f"\n== {number}. {text}")

    def _run(self, *words: str) -> None:
        """`bareflow WORDS`, with what it prints."""
        shown = f"bareflow {shlex.join(words)}".replace(" -ex ", " \\\n    -ex ")
        self.say(f"$ {shown}")
        with self._started(words) as child:
            self._tell(child)
        if child.returncode:
            raise BareflowError(f"`{shown}` ended with exit code {child.returncode}")

    def _gdb(self, *commands: str) -> None:
        every = ("set bareflow exit-on-error on", *commands, "detach")
        chosen = ["--gdb", self.debugger] if self.debugger else []
        executed = [word for each in every for word in ("-ex", each)]
        self._run("gdb", *chosen, self.machine, "--", "-nx", "-batch", *executed)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """`bareflow trace record` in the background, from when it says that it records until it has ended."""
        words = ("trace", "record", self.machine, "--out", str(self.out / "trace"))
        self.say(f"$ bareflow {shlex.join(words)} &")
        with self._started(words) as recorder:
            first = recorder.stdout.readline().rstrip() if recorder.stdout else ""
            if not first.startswith("recording"):
                raise BareflowError(f"the recorder did not start: {first}")
            self.say(first)
            try:
                yield
                recorder.send_signal(signal.SIGINT)
                self._tell(recorder)
                recorder.wait()
            finally:
                recorder.kill()
        if recorder.returncode:
            raise BareflowError(f"the recorder ended with exit code {recorder.returncode}")

    def _read(self, machine: str) -> None:
        """What the guest writes, while it does, up to the end of its answer."""
        words = ("serial", "--follow", machine)
        self.say(f"$ bareflow {shlex.join(words)}")
        with self._started(words) as reader:
            late = threading.Timer(ANSWER_SECONDS, reader.kill)
            late.start()
            try:
                ended = any(self._told(line).startswith(ANSWERED) for line in reader.stdout or ())
            finally:
                late.cancel()
                reader.kill()
        if not ended:
            raise BareflowError("the guest came to no end of its answer, as shown; `bareflow doctor` looks at the host")

    @contextmanager
    def _served(self, machine: str) -> Iterator[None]:
        """`bareflow serve` in the background; what it says of each kernel is left out."""
        words = ("serve", machine)
        self.say(f"$ bareflow {shlex.join(words)} &")
        service = subprocess.Popen([*BAREFLOW, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with service:
            try:
                yield
            finally:
                service.send_signal(signal.SIGINT)

    def _tell(self, child: subprocess.Popen[str]) -> None:
        for line in child.stdout or ():
            self._told(line)

    def _told(self, line: str) -> str:
        self.narration.write(line)
        self.narration.flush()
        return line

    def _started(self, words: tuple[str, ...]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*BAREFLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
