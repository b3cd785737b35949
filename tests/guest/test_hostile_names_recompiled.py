"""Functions that a guest names like paths, and bitcode with names that harm a terminal, are compiled all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bitcode_in_guest import replaced
from guest_code import bitcode
from hostile_names import CANARY, HARMFUL

from bareflow_gdb import foreign
from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

WRITTEN = ("v*.elf", "v*.json", "index.json", "host.lock")


def recompile(machine: Machine, function: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", "recompile", function, machine.name, "--tier", "O2", *more],
        capture_output=True,
        text=True,
        cwd="/",
    )


@contextmanager
def named(machine: Machine, index: int, name: bytes) -> Iterator[None]:
    memory = machine.memory()
    root = Guest.attach(memory).kernel().root
    assert root is not None
    at = root.function_table + index * layouts.size("bf_function") + layouts.offset("bf_function", "name")
    before = memory.read(at, 32, "name")
    memory.write(at, name.ljust(32, b"\0"), "name")
    try:
        yield
    finally:
        memory.write(at, before, "name")


@pytest.mark.parametrize("name", ["/dev/shm/INJ", "../../INJ", "nodir/x", "a b", "x;y", "\x1b[31mred", "INJ\nx"])
def test_a_function_named_like_a_path_is_compiled_and_writes_there_nothing(idle_machine: Machine, name: str) -> None:
    index = [function.name for function in Guest.attach(idle_machine.memory()).kernel().functions()].index("primes")
    shown = foreign.clean(name.encode())
    with named(idle_machine, index, name.encode()):
        done = recompile(idle_machine, shown, "--json")
    assert done.returncode == 0, done.stderr
    assert not HARMFUL.search(done.stdout + done.stderr)
    file = Path(json.loads(done.stdout)["symbol_file"])
    assert file.parent == idle_machine.directory / "jit" and file.exists()
    files = [item for item in idle_machine.directory.rglob("*") if "jit" in item.parts]
    assert all(any(item.match(pattern) for pattern in WRITTEN) for item in files if item.is_file()), files
    assert not [*Path("/dev/shm").glob(f"{CANARY}*"), *idle_machine.directory.parent.rglob(f"{CANARY}*")]


@pytest.mark.parametrize(
    "source",
    [
        'int f(int a, int b) __asm__("x\\033[31mRED\\033]0;title\\007"); int f(int a, int b) { return a + b; }',
        'int u(int) __asm__("no\\033[31msuch\\nthing"); int sum_main(int a, int b) { return u(a + b); }',
        'int sum_main(int a, int b) { static int w __asm__("w\\033[31m"); return w += a + b; }',
    ],
    ids=["no such function", "undefined symbol", "writable data"],
)
def test_what_bitcode_is_named_is_told_harmlessly(idle_machine: Machine, tmp_path: Path, source: str) -> None:
    memory = idle_machine.memory()
    function = next(item for item in Guest.attach(memory).kernel().functions() if item.name == "sum")
    with replaced(memory, function, bitcode(tmp_path, source, "-g0")):
        for more in ((), ("--json",), ("--remarks",)):
            done = recompile(idle_machine, "sum", *more)
            assert done.returncode == 1, done.stdout + done.stderr
            assert not HARMFUL.search(done.stdout + done.stderr), done.stderr
