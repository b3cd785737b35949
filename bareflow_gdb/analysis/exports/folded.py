"""How does a trace become folded stacks, for flamegraph.pl, inferno and speedscope?

A line is `stage;module;compile TICKS` (https://github.com/brendangregg/FlameGraph).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bareflow_gdb.analysis.exports.stacks import Stretch, stretches
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.files import write_atomically
from bareflow_gdb.tracing.store import Trace

_MOST_STACKS = 100_000
_OTHERS = "others"


def export(trace: Trace, path: Path) -> int:
    """Writes the file; returns the number of different stacks. Raises BadData, CannotWrite."""
    ticks: Counter[str] = Counter()
    for one in stretches(trace, trace_clock(trace).last):
        _add(one, "", ticks)
    lines = sorted(f"{stack} {count}\n" for stack, count in ticks.items() if count)
    write_atomically(path, "".join(lines))
    return len(lines)


def _add(one: Stretch, above: str, ticks: Counter[str]) -> None:
    stack = above + one.name.replace(";", ":")
    if stack not in ticks and len(ticks) >= _MOST_STACKS:
        stack = _OTHERS
    ticks[stack] += one.own
    for inner in one.within:
        _add(inner, f"{stack};", ticks)
