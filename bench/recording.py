"""What does the recorder take, and what does it cost? A guest that floods its ring while it computes, for a minute.

The recorder is the program `bareflow` in a process of its own. `make bench` needs some gigabytes of disk for this.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.tracing import manifest
from bench.process import cost
from bench.row import Row, row

SECONDS = 60.0
BOOT_SECONDS = 120.0


def measure(image: Path, seconds: float = SECONDS) -> list[Row]:
    """The rows record_events_per_s, record_lost, record_completed (the time that completing the trace takes beside that
    of the recording), record_mb and record_bytes_per_event."""
    machine = launch(image, settings=RootSettings(scenario=layouts.const("BF_SCENARIO_RING_FLOOD"), hold=1))
    try:
        wait_for_stage(machine, "registered", BOOT_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace"
            words = ["trace", "record", machine.name, "--out", str(trace), "--release", "--seconds", f"{seconds:g}"]
            began = time.monotonic()
            spent = cost(Path(folder), *words)
            took = time.monotonic() - began
            told = manifest.load(trace)
            size = sum(path.stat().st_size for path in trace.glob("events-*.parquet"))
    finally:
        machine.stop()
    events, lost = (sum(getattr(source, what) for source in told.sources) for what in ("events", "lost"))
    return [
        row("record_events_per_s", events / told.seconds, "events/s", 10_000_000),
        row("record_lost", lost, "events", 0, "lower"),
        row("record_completed", (took - told.seconds) / told.seconds, "x", 1.0, "lower"),
        row("record_mb", spent.megabytes, "MB", 500, "lower"),
        row("record_bytes_per_event", size / max(events, 1), "bytes", 8, "lower", "as the guest writes them", 32),
    ]
