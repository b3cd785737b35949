"""What does it cost? Runs every benchmark on one build, prints a table, writes JSON.

A module has `measure(image: Path) -> list[Row]` (row.py). trace_ratio, which depends on two modules, is made here.
Exits 1 when a goal is missed, 2 when something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / name) for name in ("tests", "tests/support"))]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bareflow_gdb.errors import BareflowError  # noqa: E402
from bench import ahead, gaps, gdb, inference, pgo, recompile, recording, ring, slowdown, storm, traces  # noqa: E402
from bench.row import Row, row  # noqa: E402


def trace_ratio(rows: list[Row]) -> Row:
    """How many times more events per second the ring takes than gdb breakpoints, in this same run."""
    value = {one["name"]: one["value"] for one in rows}
    ratio = value["lossless_events_per_s"] / value["breakpoint_events_per_s"]
    peer = value["breakpoint_events_per_s"]
    return row("trace_ratio", ratio, "x", 1000, peer="gdb breakpoints (events/s)", peer_value=peer)


def show(rows: list[Row]) -> None:
    table = Table(title="BareFlow GDB benchmarks")
    for column in ("name", "value", "unit", "goal", "met", "peer", "peer value"):
        table.add_column(column, justify="right" if column in ("value", "goal", "peer value") else "left")
    for one in rows:
        goal = "" if one["goal"] is None else f"{'≥' if one['better'] == 'higher' else '≤'} {one['goal']:,}"
        peer_value = "" if one["peer_value"] is None else f"{one['peer_value']:,.1f}"
        met = "" if one["goal"] is None else ("yes" if one["met"] else "NO")
        table.add_row(one["name"], f"{one['value']:,.1f}", one["unit"], goal, met, one["peer"] or "", peer_value)
    Console(width=140 if not sys.stdout.isatty() else None).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure BareFlow GDB and compare with its goals.")
    parser.add_argument("--image", type=Path, default=ROOT / "build/firmware/fluid.img")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json", help="where the rows go")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        for module in (ring, slowdown, gdb, recompile, gaps, storm, recording, traces, pgo, inference, ahead):
            print(f"bench: {module.__name__} …", flush=True)
            rows += module.measure(options.image)
    except BareflowError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    rows.append(trace_ratio(rows))
    show(rows)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    if load > processors:
        print(f"bench: load {load:.1f} on {processors} processors: other work ran too, so times are longer than alone")
    missed = [one["name"] for one in rows if not one["met"]]
    if missed:
        print(f"bench: goals missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
