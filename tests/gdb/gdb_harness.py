"""How do the tests run a real gdb, and the host program beside it?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import program
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.questions import registry

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "gdb_scripts" / "bareflow.py"
STEADY = Path(__file__).with_name("steady.py")
IMAGE = ROOT / "build" / "firmware" / "fluid.img"
KERNEL = ROOT / "build" / "firmware" / "kernel.elf"
GDBS = {"gdb-debian": Path("/usr/bin/gdb"), "gdb-environment": Path(sys.executable).parent / "gdb"}
EXAMPLES = tuple(question.example for question in registry.every() if question.name != "tensor")
"""Every question, as its own help shows it, but the one to a language model, which the idle guest has not."""
QUESTIONS = (*EXAMPLES, "identify $esp", "disas primes --diff O0 O3", "fat list", "find")
"""What is asked of an idle guest and changes nothing."""
EVENTS = layouts.const("BF_RING0_HEADER") + layouts.offset("bf_ring_header", "head")
"""Where our kernel counts its events."""
BEGIN, AGAIN = "\x02", "\x03"
"""Between them steady.py has gdb print a stop that was told again."""
_TOLD_AGAIN = re.compile(f"{BEGIN}[^{BEGIN}]*{AGAIN}")


@dataclass(frozen=True)
class Result:
    """What a gdb in batch mode printed, and how it ended."""

    out: str
    err: str
    code: int

    def json(self) -> Any:
        """The one JSON value in the output."""
        start = self.out.index("{")
        return json.JSONDecoder().raw_decode(self.out[start:])[0]

    def values(self) -> list[Any]:
        """All JSON values in the output, each of which begins a line."""
        found, at = [], 0
        while (start := f"\n{self.out}".find("\n{\n", at)) >= 0:
            value, at = json.JSONDecoder().raw_decode(self.out, start)
            found.append(value)
        return found


@dataclass(frozen=True)
class Gdb:
    """One gdb binary."""

    path: Path

    def command(self, *commands: str, suite: bool = True, elf: Path | None = None) -> list[str]:
        words = [str(self.path), "-nx", "-batch"]
        if suite:
            words += ["-x", str(SCRIPT)]
        words += ["-x", str(STEADY), "-ex", f"set $_steady_events = {EVENTS}"]
        for command in commands:
            words += ["-ex", "steady-continue" if command == "continue" else command]
        return words + ([str(elf)] if elf else [])

    def run(
        self,
        *commands: str,
        suite: bool = True,
        elf: Path | None = None,
        cwd: Path | None = None,
        timeout: float = SECONDS,
    ) -> Result:
        """Runs the commands one after the other, whatever becomes of each, and ends."""
        done = subprocess.run(
            self.command(*commands, suite=suite, elf=elf),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, "NO_COLOR": "1"},
        )
        return Result(_TOLD_AGAIN.sub("", done.stdout).replace(BEGIN, ""), done.stderr, done.returncode)


def bareflow(*words: str) -> Result:
    """The host program."""
    done = program.bareflow(*words)
    return Result(done.stdout, done.stderr, done.returncode)
