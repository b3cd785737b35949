"""Does the guest go on while its functions are recompiled? The longest time between two calls, with and without that.

The guest calls every function in its turn and records every call; no debugger is there that could stop it. When the
host looks away from the guest, that is a gap, too, and is there without recompiling as well.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.scenario import number
from bareflow_gdb.pgo.measure import NEVER
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.recompile.service import Service
from bareflow_gdb.tracing import manifest
from bareflow_gdb.tracing.store import Trace
from bench.row import Row, row

BOOT_SECONDS = 120.0
QUIET_SECONDS = 3.0
"""Before the first request; the requests take about as long."""
ROUNDS = 3
LEVELS = (1, 2, 3)


def measure(image: Path, quiet: float = QUIET_SECONDS, rounds: int = ROUNDS) -> list[Row]:
    """The row recompile_gap_ms, beside the longest gap without a request."""
    settings = RootSettings(thresholds=NEVER, scenario=number("calls"), call_sample=1)
    machine = launch(image, disk=image.parent / "fat16.img", settings=settings)
    try:
        wait_for_stage(machine, "running", BOOT_SECONDS)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "trace"
            words = [sys.executable, "-m", "bareflow_gdb.cli.main", "trace", "record", machine.name, "--calls"]
            words += ["--out", str(out)]
            recorder = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _begun(recorder, out)
                time.sleep(quiet)
                with Service(machine.memory(), machine.directory) as service:
                    names = [function.name for function in service.functions()]
                    outcomes = [service.request(name, n) for n in LEVELS * rounds for name in names]
            finally:
                recorder.send_signal(signal.SIGINT)
                recorder.wait(BOOT_SECONDS)
            if refused := [outcome for outcome in outcomes if not outcome.installed]:
                raise BareflowError(f"{refused[0].function} was not recompiled: {refused[0].message}")
            trace = Trace.open(out)
            events, hertz = trace.events(), trace.manifest.tsc_hz
    finally:
        machine.stop()
    calls = events[events["type"] == BY_NAME["call"].number]["tsc"]
    asked = events[events["type"] == BY_NAME["request"].number]["tsc"].min()
    before, after = (float(np.diff(part).max()) / hertz * 1e3 for part in (calls[calls < asked], calls[calls >= asked]))
    return [row("recompile_gap_ms", after, "ms", None, "lower", f"the same without any of {len(outcomes)}", before)]


def _begun(recorder: subprocess.Popen[bytes], out: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not (out / manifest.FILE).exists():
        if recorder.poll() is not None or time.monotonic() > deadline:
            raise BareflowError("the recorder did not begin; `bareflow trace record` says why")
        time.sleep(0.01)
