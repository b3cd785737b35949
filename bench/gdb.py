"""What does the suite cost inside gdb, and how fast is tracing by breakpoints? Both gdbs, a real guest.

Packets are counted by a relay between gdb and QEMU's gdbstub, so that QEMU's RAM file is not found and everything
goes over the wire.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bench.row import Row, row
from tests.gdb.gdb_harness import QUESTIONS
from tests.gdb.mi_gdb import MiGdb
from tests.gdb.rsp_proxy import RspProxy

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "gdb_scripts" / "bareflow.py"
RATE_SCRIPT = ROOT / "bench" / "breakpoint_rate.py"
GDBS = (Path("/usr/bin/gdb"), Path(sys.executable).parent / "gdb")
STARTS = 15
STEPS = 50
# `doctor` and `recompile` wait for another process; what a compilation takes is a row of its own.
TIMED = (*QUESTIONS, "jitsym", "fat cat TEST.TXT", "reload")
BOOT_SECONDS = 120.0
RATE_SECONDS = 3.0


def measure(image: Path) -> list[Row]:
    """The rows; each value is that of the worse gdb, the breakpoint rate that of the faster one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packets = max(_packets_of_commands(gdb, image, folder) for gdb in GDBS)
        steps = max(_packets_added_per_step(gdb, image, folder) for gdb in GDBS)
    slowest, command = max(_slowest_command(gdb, image) for gdb in GDBS)
    return [
        row("gdb_start_added_ms", max(map(_start_added_ms, GDBS)), "ms", 150, "lower"),
        {**row("command_max_ms", slowest, "ms", 100, "lower"), "peer": f"the slowest: bf {command}"},
        row("packets_max_per_command", packets, "packets", 10, "lower"),
        row("packets_added_per_step", steps, "packets", 0, "lower"),
        row("breakpoint_events_per_s", max(_breakpoint_rate(gdb, image) for gdb in GDBS), "events/s"),
    ]


def _start_added_ms(gdb: Path) -> float:
    """Median of what loading the suite adds to starting and ending gdb; with and without take turns."""
    plain = [str(gdb), "-nx", "-batch"]
    added = []
    for _ in range(STARTS):
        seconds = []
        for words in (plain, [*plain, "-x", str(SCRIPT)]):
            start = time.perf_counter()
            subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
            seconds.append(time.perf_counter() - start)
        added.append(seconds[1] - seconds[0])
    return statistics.median(added) * 1000


@contextmanager
def _machine(image: Path, *, paused: bool = False, stage: str = "", **words: Any) -> Iterator[Machine]:
    machine = launch(image, settings=RootSettings(**words), paused=paused)
    try:
        if stage:
            wait_for_stage(machine, stage, BOOT_SECONDS)
        yield machine
    finally:
        machine.stop()


@contextmanager
def _attached(gdb: Path, machine: Machine, folder: Path, *, suite: bool) -> Iterator[tuple[MiGdb, RspProxy]]:
    script = SCRIPT if suite else None
    with RspProxy(folder / "gdb.sock", machine.gdb_socket) as proxy, MiGdb(gdb, script=script) as session:
        session.run(f"target remote {proxy.path}")
        yield session, proxy


def _step(session: MiGdb) -> None:
    session.run("stepi")
    session.wait_for_stop()


def _packets_of_commands(gdb: Path, image: Path, folder: Path) -> int:
    """The most packets that one command caused, each right after a stop; discovery at attach is apart."""
    most = 0
    with (
        _machine(image, stage="idle", thresholds=(10, 20, 30)) as machine,
        _attached(gdb, machine, folder, suite=True) as (session, proxy),
    ):
        session.run("bf status")
        for command in QUESTIONS:
            _step(session)
            before = proxy.sent
            session.run(f"bf {command} --json")
            if proxy.sent == before:
                raise BareflowError(f"bf {command} caused no packet; the measurement does not see its reads")
            most = max(most, proxy.sent - before)
    return most


def _slowest_command(gdb: Path, image: Path) -> tuple[float, str]:
    """Milliseconds and name; on a live guest, QEMU's RAM readable: the median of each command, after its first use."""
    timed = f"""python
import statistics, time
def spend(command):
    begin = time.perf_counter()
    gdb.execute("bf " + command, to_string=True)
    return (time.perf_counter() - begin) * 1000
for command in {TIMED!r}:
    spend(command)
    print("spent", statistics.median(spend(command) for _ in range(5)), command)
end
"""
    with _machine(image, stage="idle", thresholds=(10, 20, 30)) as machine, tempfile.TemporaryDirectory() as name:
        script = Path(name) / "timed.gdb"
        script.write_text(timed, encoding="utf-8")
        words = [str(gdb), "-nx", "-batch", "-x", str(SCRIPT), "-ex", f"bf attach {machine.name}", "-x", str(script)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120)
    lines = (line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("spent "))
    spent = [(float(milliseconds), command) for _, milliseconds, command in lines]
    if len(spent) != len(TIMED):
        raise BareflowError(f"a timed command failed: {done.stderr.strip()[-300:]}")
    return max(spent)


def _packets_added_per_step(gdb: Path, image: Path, folder: Path) -> float:
    """What the suite adds to a plain stepi, after a bf command was used; both runs begin at the reset vector."""
    cost = {}
    for suite in (False, True):
        with _machine(image, paused=True) as machine, _attached(gdb, machine, folder, suite=suite) as (session, proxy):
            _step(session)
            if suite:
                session.run("bf status")
            before = proxy.sent
            for _ in range(STEPS):
                _step(session)
            cost[suite] = proxy.sent - before
    return (cost[True] - cost[False]) / STEPS


def _breakpoint_rate(gdb: Path, image: Path) -> float:
    """Events per second of a trace by a breakpoint with a Python stop(), at the JIT's dispatcher.

    A run swaps only a dozen times, so the events are calls; what stop() reads is what a swap trace reads.
    """
    with _machine(image, stage="registered", hold=1, thresholds=(10, 20, 30), run_calls=1_000_000) as machine:
        words = [str(gdb), "-nx", "-batch", "-ex", f"python SOCKET = {str(machine.gdb_socket)!r}"]
        words += ["-ex", f"python SECONDS = {RATE_SECONDS}", "-x", str(RATE_SCRIPT)]
        release(machine)
        kernel = image.with_name("kernel.elf")
        done = subprocess.run(
            [*words, str(kernel)], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=120
        )
    for line in done.stdout.splitlines():
        if line.startswith("rate "):
            return float(line.split()[1])
    raise BareflowError(f"the breakpoint trace gave no rate: {done.stderr.strip()[-300:]}")
