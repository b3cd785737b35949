"""How does a test run the program `bareflow`? As a process of its own, as a user's shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from machines import SECONDS

ROOT = Path(__file__).resolve().parents[2]


def bareflow(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Its output, without colour, and its exit code."""
    return subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **environment},
        check=False,
    )
