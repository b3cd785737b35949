"""What do questions of a long trace cost in time and memory? Beside the same events loaded at once.

Ten million events, and a hundred million, made from a real trace. Each question is the program `bareflow` in a process
of its own, whose highest resident memory is counted. `make bench` needs some gigabytes of disk for this.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bench.big_trace import EVENTS, make
from bench.process import ENDS, cost
from bench.row import Row, row

LONG = 100_000_000
QUERY = "select name, count(*), max(tsc) from events join types on type = number group by all"
# How it was done before the events were streamed: all of them as one Arrow table in the order of time.
AT_ONCE = f"""
import sys
from pathlib import Path
from bareflow_gdb.tracing import blocks
from bareflow_gdb.tracing.store import Trace
blocks.in_order(Trace.open(Path(sys.argv[2])).parts())
{ENDS}
"""
# One part in a thousand of the trace's time, out of its middle; the least of five, without the start of Python.
SLICE = f"""
import sys, time
from pathlib import Path
from bareflow_gdb.tracing.sql import answer
from bareflow_gdb.tracing.store import Trace
def ask(query):
    began = time.perf_counter()
    with answer(Trace.open(Path(sys.argv[2])), query) as reader:
        rows = reader.read_all()
    return time.perf_counter() - began, rows
_, ends = ask("select min(tsc) as first, max(tsc) as last from events")
first, last = (ends.column(name)[0].as_py() for name in ("first", "last"))
middle, part = (first + last) // 2, (last - first) // 1000
query = f"select tsc, type, id from events where tsc between {{middle}} and {{middle + part}}"
print(min(ask(query)[0] for _ in range(5)))
{ENDS}
"""


def measure(image: Path, events: int = EVENTS, long: int = LONG) -> list[Row]:  # noqa: ARG001 - no guest runs
    """Two rows for each question of a trace of `events`, seconds and megabytes, and babeltrace2's time for the same
    events; megabytes for each question of the `long` one, and the time of a slice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = str(make(folder / "trace", events))
        loaded = cost(folder, trace, program=AT_ONCE)
        rows = []
        for question, (words, seconds, megabytes) in _questions(folder, trace, events).items():
            spent = cost(folder, *words)
            at_once = "all events loaded at once ({})".format
            rows += [
                row(f"trace_10m_{question}_s", spent.seconds, "s", seconds, "lower", at_once("s"), loaded.seconds),
                row(
                    f"trace_10m_{question}_mb",
                    spent.megabytes,
                    "MB",
                    megabytes,
                    "lower",
                    at_once("MB"),
                    loaded.megabytes,
                ),
            ]
            if question == "ctf":
                took = _babeltrace(folder / "ctf", events)
                rows.append(
                    row("trace_10m_babeltrace2_s", took, "s", None, "lower", "bareflow events --sql", _sql(rows))
                )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = str(make(folder / "trace", long))
        for question, (words, _, megabytes) in _questions(folder, trace, long).items():
            spent = cost(folder, *words)
            rows.append(row(f"trace_100m_{question}_mb", spent.megabytes, "MB", megabytes, "lower"))
        took = float(cost(folder, trace, program=SLICE).said)
        rows.append(row("trace_100m_slice_ms", took * 1e3, "ms", 50, "lower"))
    return rows


def _questions(folder: Path, trace: str, events: int) -> dict[str, tuple[list[str], float, float]]:
    """Each with its words, and how many seconds and megabytes it may take."""
    perfetto = ["trace", "convert", trace, "--to", "perfetto", "--out", str(folder / "big")]
    return {
        "show": (["trace", "show", trace], 1.0, 300),
        "sql": (["events", trace, "--sql", QUERY], 1.0, 500),
        "last": (["events", trace, "--last", "100"], 1.0, 500),
        "type": (["events", trace, "--type", "publish"], 1.0, 500),
        "report": (["report", trace, "--out", str(folder / "report.html")], 4.0, 500),
        "ctf": (["trace", "ctf", trace, "--out", str(folder / "ctf")], 5.0, 500),
        "perfetto": (perfetto, events / 3e6, 500),
    }


def _sql(rows: list[Row]) -> float:
    return float(next(one["value"] for one in rows if one["name"] == "trace_10m_sql_s"))


def _babeltrace(ctf: Path, events: int) -> float:
    """Seconds in which babeltrace2 counts the events; raises BareflowError when it counts others."""
    began = time.monotonic()
    words = ["babeltrace2", str(ctf), "--component=sink.utils.counter", "--params=hide-zero=true"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=True)
    took = time.monotonic() - began
    # It says so now and then; the last word counts.
    counted = [int(line.split()[0]) for line in done.stdout.splitlines() if "Event message" in line]
    if counted[-1:] != [events]:
        raise BareflowError(f"babeltrace2 counts {counted[-1] if counted else 0:,} events of {events:,}")
    return took
