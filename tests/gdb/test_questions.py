"""`bf X --json` says what `bareflow X --json` says, whichever way the real guest's memory is read."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import KERNEL, Gdb, bareflow
from rsp_proxy import RspProxy, TcpProxy

from bareflow_gdb.qemu.machine import Machine

# Over packets a SHA-256 is told only when it is asked for.
TABLES = ("boot", "modules --check", "pools", "profile", "jit", "swaps --all")


@pytest.fixture
def stopped(idle_machine: Machine) -> Iterator[Machine]:
    """The idle guest, paused, so that its counters do not move between two programs that read them."""
    idle_machine.pause()
    yield idle_machine
    idle_machine.resume()


def test_reading_through_gdb_says_the_same_as_qemu_ram(gdb: Gdb, stopped: Machine, tmp_path: Path) -> None:
    asked = [f"bf {question}{kind}" for question in TABLES for kind in (" --json", "")]
    direct = gdb.run(f"target remote {stopped.gdb_socket}", *asked)
    stopped.pause()
    with RspProxy(tmp_path / "gdb.sock", stopped.gdb_socket) as proxy:
        through = gdb.run(f"target remote {proxy.path}", *asked)
    assert len(through.values()) == len(TABLES)
    # Where the guest is stopped is gdb's line, and it ran between the two.
    assert through.out.split("\n", 1)[1] == direct.out.split("\n", 1)[1]


def test_identify_takes_any_expression_of_gdb(gdb: Gdb, stopped: Machine) -> None:
    inside = gdb.run(f"target remote {stopped.gdb_socket}", "bf identify &kernel_main --json", elf=KERNEL).json()
    nm = next(line for line in _symbols() if line.endswith(" kernel_main"))
    assert inside["address"] == f"0x{nm.split()[0]}"
    assert inside == bareflow("identify", inside["address"], "--json", stopped.name).json()


def _symbols() -> list[str]:
    return subprocess.run(["llvm-nm-19", str(KERNEL)], capture_output=True, text=True, check=True).stdout.splitlines()


def test_attach_by_name_connects_to_that_machine(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf status --json")
    assert f"attached to {idle_machine.gdb_socket}" in result.out
    assert result.json()["stage"] == "idle"


def test_attach_takes_any_gdbstub_by_its_address(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    with TcpProxy(idle_machine.gdb_socket) as tcp:
        over_tcp = gdb.run(f"bf attach tcp:127.0.0.1:{tcp.port}", "bf status --json")
    over_unix = gdb.run(f"bf attach unix:{idle_machine.gdb_socket}", "bf status --json")
    extended = gdb.run(f"target extended-remote {idle_machine.gdb_socket}", "bf status --json")
    for result in (over_tcp, over_unix, extended):
        assert result.json()["stage"] == "idle"
    nobody = gdb.run(f"bf attach unix:{tmp_path}/nobody")
    assert nobody.err.startswith(f"bf attach: cannot connect to {tmp_path}/nobody (")
    assert nobody.err.endswith("; `bareflow list` shows the machines that run\n")
    assert nobody.err.count("\n") == 1


def test_guest_names_are_completed(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "complete bf recompile pr", "complete bf step-swap ")
    assert "bf recompile primes" in result.out
    for name in ("fibonacci", "sum", "compute", "primes"):
        assert f"bf step-swap {name}" in result.out


def test_a_guest_that_runs_in_the_background_is_read_from_qemu_ram(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "continue &", "bf jit --json", "bf swaps", "disconnect")
    assert [function["name"] for function in result.json()["functions"]][:2] == ["fibonacci", "sum"]
    assert "threshold" in result.out


def test_a_running_guest_that_only_gdb_can_read_is_one_sentence(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path
) -> None:
    with RspProxy(tmp_path / "gdb.sock", idle_machine.gdb_socket) as proxy:
        result = gdb.run(f"target remote {proxy.path}", "continue &", "bf jit", "disconnect")
    assert "bf jit: the guest runs, and its RAM can be read only while it is stopped: `interrupt` first" in (result.err)


def test_a_core_of_the_guest_answers_in_gdb_too(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    core = tmp_path / "guest.core"
    idle_machine.dump_core(core)
    inside = gdb.run(f"core-file {core}", "bf swaps --json", elf=KERNEL)
    assert inside.json() == bareflow("swaps", "--json", str(core)).json()
