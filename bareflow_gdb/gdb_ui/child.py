"""How does a gdb command run the host program? As a child: LLVM and NumPy stay out of gdb's process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from bareflow_gdb.errors import BareflowError

# What a gdb that brings its own Python sets for itself would break another Python.
_NOT_INHERITED = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE")


def program() -> str:
    """The host program `bareflow`: of the suite's own environment, of one whose packages gdb uses, or of PATH."""
    for path in (Path(__file__).parents[2], *map(Path, sys.path)):
        if path.name in ("site-packages", "dist-packages"):
            candidate = path.parent.parent.parent / "bin" / "bareflow"
            if os.access(candidate, os.X_OK):
                return str(candidate)
    found = shutil.which("bareflow")
    if found is None:
        raise BareflowError("the program `bareflow` is not installed where gdb finds it; run `make setup`")
    return found


def start(*words: str, errors: IO[str] | None = None, questions: bool = False) -> subprocess.Popen[str]:
    """Starts `bareflow WORDS`, apart from gdb's terminal: a Ctrl-C in gdb does not reach it.

    errors: a file for what it writes to stderr (default: a pipe). questions: with a pipe to its stdin.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environment["PYTHONIOENCODING"] = "utf-8"
    return subprocess.Popen(
        [program(), *words],
        stdin=subprocess.PIPE if questions else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if errors is None else errors,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,
    )


def last_words(text: str) -> str:
    """The sentence in which the host program ended, without its name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "the host program ended without a word"
    return lines[-1].removeprefix("bareflow ").strip()
