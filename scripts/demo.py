"""The main job, end to end, on a real guest: what `make demo` shows; every figure is read from the run.

Leaves in --out: trace/, report.html, summary.txt, serial.log.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BAREFLOW = [sys.executable, "-m", "bareflow_gdb.cli.main"]
SWAPPED = "primes"


class DemoFailed(Exception):
    """A step did not do what it shows; the message names the step."""


def say(text: str) -> None:
    print(text, flush=True)


def title(number: int, text: str) -> None:
    say(f"\n== {number}. {text}")


def run(*words: str, shown: str | None = None) -> str:
    """Runs a command, printing it and what it prints; raises DemoFailed when it fails."""
    shown = shown or " ".join(words)
    say(f"$ {shown}")
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        print(line, end="", flush=True)
    if child.wait() != 0:
        raise DemoFailed(f"`{shown}` ended with exit code {child.returncode}")
    return "".join(lines)


def bareflow(*words: str) -> str:
    return run(*BAREFLOW, *words, shown=" ".join(("bareflow", *words)))


def gdb(gdb_program: str, machine: str, *commands: str) -> str:
    """One gdb session on the machine, shown as a person would type it."""
    every = ("set bareflow exit-on-error on", f"bf attach {machine}", *commands)
    words = [gdb_program, "-q", "-nx", "-batch", "-x", "gdb_scripts/bareflow.py", "build/firmware/kernel.elf"]
    for each in every:
        words += ["-ex", each]
    head = f"{gdb_program} -q -batch -x gdb_scripts/bareflow.py build/firmware/kernel.elf"
    shown = " \\\n    ".join((head, *(f"-ex '{each}'" for each in every)))
    return run(*words, shown=shown)


def start_recorder(machine: str, out: Path) -> subprocess.Popen[str]:
    """`bareflow trace record` in the background; returns once it says that it records."""
    words = ["trace", "record", machine, "--out", str(out / "trace")]
    say(f"$ bareflow {' '.join(words)} &")
    log = (out / "recorder.log").open("w+")
    recorder = subprocess.Popen([*BAREFLOW, *words], stdout=log, stderr=log, text=True, cwd=ROOT)
    deadline = time.monotonic() + 60
    while "recording" not in (out / "recorder.log").read_text():
        if recorder.poll() is not None or time.monotonic() > deadline:
            raise DemoFailed(f"the recorder did not start: {(out / 'recorder.log').read_text().strip()}")
        time.sleep(0.05)
    return recorder


def end_recorder(recorder: subprocess.Popen[str], out: Path) -> None:
    recorder.send_signal(signal.SIGINT)
    code = recorder.wait(60)
    say((out / "recorder.log").read_text().rstrip())
    (out / "recorder.log").unlink()
    if code != 0:
        raise DemoFailed(f"the recorder ended with exit code {code}")


def demo(options: argparse.Namespace) -> None:
    out: Path = options.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    machine = f"demo-{os.getpid()}"
    recorder: subprocess.Popen[str] | None = None
    started = time.monotonic()
    try:
        title(1, "The unikernel boots, runs its modules, registers functions with the adaptive JIT")
        thresholds = ["--thresholds", options.thresholds] if options.thresholds else []
        bareflow("run", "--name", machine, "--hold", "--wait", "registered", *thresholds)
        bareflow("log", machine)

        title(2, "gdb attaches and shows it")
        questions = ("boot", "modules", "pools", "profile", "jit")
        gdb(options.gdb, machine, *(f"bf {question}" for question in questions), "detach")

        title(3, "Every swap is traced while the guest runs; 4. gdb steps through one of them")
        recorder = start_recorder(machine, out)
        gdb(options.gdb, machine, "bf release", f"bf step-swap {SWAPPED} --stay", "detach")
        bareflow("wait", machine, "idle")
        bareflow("swaps", machine)

        title(5, "The host's LLVM recompiles a function from the bitcode in guest memory")
        gdb(options.gdb, machine, f"bf recompile {SWAPPED} --level 3 --stop", "backtrace", "finish", "detach")
        end_recorder(recorder, out)
        recorder = None

        title(6, "The guest ends; the report is made from its trace")
        shutil.copyfile(out / "trace/serial.log", out / "serial.log")
        bareflow("stop", machine)
        machine = ""
        report = ("--out", str(out / "report.html"), "--text", str(out / "summary.txt"))
        bareflow("report", str(out / "trace"), *report)
    finally:
        if recorder is not None:
            recorder.kill()
            recorder.wait()
        if machine:
            subprocess.run([*BAREFLOW, "stop", machine], capture_output=True, cwd=ROOT)
    left = ", ".join(sorted(each.name for each in out.iterdir()))
    say(f"\nDone in {time.monotonic() - started:.1f} s. {out} holds {left}; open {out}/report.html.")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the main job, end to end, with narration.")
    parser.add_argument("--out", type=Path, default=Path("build/demo"))
    parser.add_argument("--gdb", default="gdb")
    parser.add_argument("--thresholds", metavar="A,B,C", help="call counts for O1, O2, O3")
    try:
        demo(parser.parse_args())
    except DemoFailed as failed:
        print(f"demo: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
