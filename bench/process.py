"""What does a program cost that runs in a process of its own: seconds, and memory?"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BareflowError

# What a process has had in memory since it began to be this program; getrusage() counts its parent's memory too.
ENDS = "Path(sys.argv[1]).write_bytes(Path('/proc/self/status').read_bytes())"
BAREFLOW = f"""
import sys
from pathlib import Path
from bareflow_gdb.cli import main
code = main.main(sys.argv[2:])
{ENDS}
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """Of one process."""

    seconds: float
    megabytes: float
    """Resident, at most."""
    said: str
    """On its standard output."""


def cost(folder: Path, *words: str, program: str = BAREFLOW) -> Cost:
    """Runs `bareflow WORDS`, or another Python program that ENDS so; raises BareflowError when it fails."""
    status = folder / "status"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program, str(status), *words], capture_output=True, encoding="utf-8")
    took = time.monotonic() - began
    # 1: it was answered, and there are findings.
    if done.returncode not in (0, 1):
        raise BareflowError(f"{' '.join(words[:2])} failed: {done.stderr.strip()}")
    lines = status.read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return Cost(took, int(kilobytes) / 1000, done.stdout)
