"""Which formats of other tools can a trace become? Knows their names without loading what makes them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.tracing.store import Trace


@dataclass(frozen=True)
class Format:
    """One of them."""

    module: str
    function: str
    counts: str
    """What the exporter returns the number of."""
    reader: str
    """How it is opened; `{}` is the file."""

    def export(self, trace: Trace, path: Path) -> int:
        """Writes it. Raises BadData, CannotWrite, of a format that is a directory UsageError; then nothing is left."""
        made = getattr(importlib.import_module(f"{__package__}.{self.module}"), self.function)(trace, path)
        return int(made)


FORMATS = {
    "perfetto": Format("perfetto", "export", "events", "open it at https://ui.perfetto.dev, or with trace_processor"),
    "ctf": Format("ctf", "export", "events", "read it with `babeltrace2 {}`, or Trace Compass"),
    "jsonl": Format("jsonl", "export", "events", "one event a line, for jq or pandas"),
    "speedscope": Format("speedscope", "export", "stretches of time", "open it at https://www.speedscope.app"),
    "folded": Format("folded", "export", "stacks", "`flamegraph.pl {}` draws them"),
    "perf-map": Format("perf", "export_map", "names", "perf finds it as /tmp/perf-PID.map"),
    "jitdump": Format("perf", "export_jitdump", "versions", "perf takes it as jit-PID.dump"),
}
