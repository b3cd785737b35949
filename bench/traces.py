"""What do questions of a long trace cost in time and memory? Beside the same events loaded at once.

Ten million events, made from a real trace. Each question is the program `bareflow` in a process of its own, whose
highest resident memory is counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BareflowError
from bench.big_trace import EVENTS, make

QUERY = "select name, count(*), max(tsc) from events join types on type = number group by all"
# What a process has had in memory since it began to be this program; getrusage() counts its parent's memory too.
ENDS = "Path(sys.argv[1]).write_bytes(Path('/proc/self/status').read_bytes())"
PROGRAM = f"""
import sys
from pathlib import Path
from bareflow_gdb.cli import main
code = main.main(sys.argv[2:])
{ENDS}
sys.exit(code)
"""
# How it was done before the events were streamed: all of them as one Arrow table in the order of time.
AT_ONCE = f"""
import sys
from pathlib import Path
from bareflow_gdb.tracing import blocks
from bareflow_gdb.tracing.store import Trace
blocks.in_order(Trace.open(Path(sys.argv[2])).parts())
{ENDS}
"""

Row = dict[str, Any]


def measure(image: Path) -> list[Row]:  # noqa: ARG001 - no guest runs
    """Two rows for each question: seconds, and megabytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = str(make(folder / "trace", EVENTS))
        loaded = _cost(folder, AT_ONCE, trace)
        asked = {
            "show": (["trace", "show", trace], 1.0, 300),
            "sql": (["events", trace, "--sql", QUERY], 1.0, 500),
            "last": (["events", trace, "--last", "100"], 1.0, 500),
            "type": (["events", trace, "--type", "publish"], 1.0, 500),
            "report": (["report", trace, "--out", str(folder / "report.html")], 4.0, 500),
            "ctf": (["trace", "ctf", trace, "--out", str(folder / "ctf")], 5.0, 500),
            "perfetto": (
                ["trace", "convert", trace, "--to", "perfetto", "--out", str(folder / "big")],
                EVENTS / 3e6,
                500,
            ),
        }
        rows = []
        for question, (words, seconds, megabytes) in asked.items():
            took, used = _cost(folder, PROGRAM, *words)
            rows.append(_row(f"trace_10m_{question}_s", took, "s", seconds, loaded[0]))
            rows.append(_row(f"trace_10m_{question}_mb", used, "MB", megabytes, loaded[1]))
        return rows


def _cost(folder: Path, program: str, *words: str) -> tuple[float, float]:
    """Seconds, and megabytes of resident memory at most; raises BareflowError when the program fails."""
    status = folder / "status"
    began = time.monotonic()
    asked = [sys.executable, "-c", program, str(status), *words]
    done = subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    took = time.monotonic() - began
    # 1: it was answered, and there are findings.
    if done.returncode not in (0, 1):
        raise BareflowError(f"{' '.join(words[:2])} failed: {done.stderr.strip()}")
    lines = status.read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return took, int(kilobytes) / 1000


def _row(name: str, value: float, unit: str, goal: float, peer_value: float) -> Row:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "goal": goal,
        "better": "lower",
        "met": value <= goal,
        "peer": f"all events loaded at once ({unit})",
        "peer_value": peer_value,
    }
