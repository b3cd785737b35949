"""How long does it take from asking for a function at O3 to the first execution of the new code in the guest?

And how long is new code verified, in the function that takes longest? That is not in the first figure.
The peer is what a developer does by hand: the same bitcode through clang and ld.lld as processes, without any
of the transport.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.recompile.cache import ObjectCache
from bareflow_gdb.recompile.service import Service
from bareflow_gdb.recompile.wrapped import read_wrapped
from bench.row import Row, row

GOAL_MS = 20.0
CACHED_GOAL_MS = 3.0
VERIFY_GOAL_MS = 50.0
ROUNDS = 6
PEER_ROUNDS = 3
BOOT_SECONDS = 120.0
CLANG = ["clang-19", "--target=i686-unknown-none-elf", "-march=i686", "-fno-pic", "-O3", "-c"]
LINK = ["ld.lld-19", "-m", "elf_i386", "-Ttext=0x200000", "-e", "0"]


def measure(image: Path) -> list[Row]:
    """The rows recompile_ms, the median over ROUNDS requests of each of the guest's functions, recompile_cached_ms, of
    those whose object was kept, and verify_ms."""
    machine = launch(image, settings=RootSettings(thresholds=(10, 20, 30)))
    try:
        wait_for_stage(machine, "idle", BOOT_SECONDS)
        memory = machine.memory()
        with Service(memory, machine.directory) as service:
            names = [function.name for function in service.functions()]
            slowest = max(statistics.median(_verified(service, name) for _ in range(PEER_ROUNDS)) for name in names)
        with Service(memory, machine.directory, verify=False) as service:
            times = [_request(service, name) for _ in range(ROUNDS) for name in names]
            payloads = [read_wrapped(memory, f.bitcode, f.bitcode_size).payload for f in service.functions()]
        with (
            tempfile.TemporaryDirectory() as folder,
            Service(memory, machine.directory, verify=False, cache=ObjectCache(Path(folder))) as service,
        ):
            for name in names:
                service.request(name, 3)
            cached = [_request(service, name) for _ in range(ROUNDS) for name in names]
    finally:
        machine.stop()
    by_hand = statistics.median(_by_hand(payload) for _ in range(PEER_ROUNDS) for payload in payloads)
    processes = "clang -O3 and ld.lld as processes, nothing installed"
    return [
        row("recompile_ms", statistics.median(times), "ms", GOAL_MS, "lower", processes, by_hand),
        row("recompile_cached_ms", statistics.median(cached), "ms", CACHED_GOAL_MS, "lower", processes, by_hand),
        row("verify_ms", slowest, "ms", VERIFY_GOAL_MS, "lower"),
    ]


def _verified(service: Service, name: str) -> float:
    outcome = service.request(name, 3)
    if not outcome.correct or outcome.milliseconds.verify is None:
        raise BareflowError(f"{name} was not verified ({outcome.message or outcome.verification})")
    return outcome.milliseconds.verify


def _request(service: Service, name: str) -> float:
    outcome = service.request(name, 3)
    if not outcome.correct or outcome.milliseconds.total is None:
        raise BareflowError(f"{name} was not recompiled correctly ({outcome.message or outcome.result})")
    return outcome.milliseconds.total


def _by_hand(payload: bytes) -> float:
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "function.bc", Path(folder) / "function.o"
        source.write_bytes(payload)
        started = time.perf_counter()
        subprocess.run([*CLANG, source, "-o", made], check=True, capture_output=True)
        subprocess.run([*LINK, made, "-o", made.with_suffix(".elf")], check=True, capture_output=True)
        return (time.perf_counter() - started) * 1e3
