"""What the suite costs on the wire, counted by a proxy between gdb and QEMU's gdbstub."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gdb_harness import KERNEL, QUESTIONS, SCRIPT, SECONDS, Gdb, bareflow
from mi_gdb import MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu.machine import Machine

pytestmark = pytest.mark.both_gdbs

Boot = Callable[..., Machine]

BUDGET = 10
WITH_RAM = 2
STEPS = 10
# They make or end something, so they are asked once.
CHANGES = (
    "doctor",
    "jitsym",
    "jitsym --detach",
    "watch primes",
    "break-swap",
    "break-swap primes",
    "break-boot stage1",
    "break-boot kernel",
)
# `diagnose` is asked for everything, whatever that costs.
BOUNDED = tuple(question for question in QUESTIONS if question != "diagnose")
# They connect, let the guest run, start a program, draw what others asked, or want a language model.
RUNS_OR_ASKS_OTHERS = (
    *("attach", "break", "break-layer", "tensor", "module", "recompile", "refresh", "release", "reload", "scenario"),
    *("step-boot", "step-swap", "swap", "trace"),
)


@contextmanager
def attached(gdb: Gdb, machine: Machine, folder: Path, *, suite: bool) -> Iterator[tuple[MiGdb, RspProxy]]:
    """gdb at the stopped guest, seen through a proxy, so that the machine's RAM file is not found."""
    script = SCRIPT if suite else None
    with RspProxy(folder / "gdb.sock", machine.gdb_socket) as proxy, MiGdb(gdb.path, script=script) as session:
        session.run(f"target remote {proxy.path}")
        yield session, proxy


def step(session: MiGdb) -> None:
    session.run("stepi")
    session.wait_for_stop()


def packets_of_steps(session: MiGdb, proxy: RspProxy) -> tuple[int, int]:
    before = proxy.sent, proxy.received
    for _ in range(STEPS):
        step(session)
    return proxy.sent - before[0], proxy.received - before[1]


@pytest.mark.parametrize("used", (False, True), ids=("loaded", "used"))
def test_a_plain_step_costs_exactly_what_it_costs_without_the_suite(
    gdb: Gdb, image: Path, launched: Boot, tmp_path: Path, used: bool
) -> None:
    # What a step costs depends on the instruction, so both begin at the reset vector.
    cost = {}
    for suite in (False, True):
        machine = launched(image, paused=True)
        with attached(gdb, machine, tmp_path, suite=suite) as (session, proxy):
            step(session)
            if suite and used:
                session.run("bf status")
            cost[suite] = packets_of_steps(session, proxy)
    assert cost[True] == cost[False]


def test_a_command_costs_at_most_10_packets(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    cost, again = {}, {}
    with attached(gdb, idle_machine, tmp_path, suite=True) as (session, proxy):
        session.run("bf status")
        for command in (*BOUNDED, *CHANGES):
            step(session)
            before = proxy.sent
            session.run(f"bf {command} --json")
            cost[command] = proxy.sent - before
            if command in BOUNDED:
                before = proxy.sent
                session.run(f"bf {command} --json")
                again[command] = proxy.sent - before
            session.run("delete")
        session.run("bf jitsym")
        step(session)
        before = proxy.sent
        session.run("bf boot --json")
        assert proxy.sent - before == cost["boot"], "names that gdb has are not looked after by packets"
    assert {command: count for command, count in cost.items() if count > BUDGET} == {}
    assert all(cost[command] for command in BOUNDED), "it was read through gdb"
    assert not any(again.values()), "the second answer at one stop comes out of the cache"


def test_with_qemus_ram_readable_a_command_costs_at_most_2(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    cost = {}
    with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy:
        # Known by the proxy's socket, so that the suite uses the RAM file and each packet is counted.
        places.write_record(machine.directory, {**machine.record(), "gdb_socket": str(proxy.path)})
        with MiGdb(gdb.path, script=SCRIPT) as session:
            session.run(f"target remote {proxy.path}")
            session.run("bf status")
            for command in (*QUESTIONS, *CHANGES):
                step(session)
                before = proxy.sent
                session.run(f"bf {command} --json")
                cost[command] = proxy.sent - before
                session.run("delete")
    places.write_record(machine.directory, machine.record())
    assert {command: count for command, count in cost.items() if count > WITH_RAM} == {}


def test_a_kernel_without_a_block_table_costs_one_more_per_block(gdb: Gdb, ended: Boot, tmp_path: Path) -> None:
    with attached(gdb, ended("stock"), tmp_path, suite=True) as (session, proxy):
        # Searches happen once per attach.
        session.run("bf status")
        session.run("bf pools")
        for command in ("status", "modules", "jit", "profile", "swaps", "pools"):
            # This kernel halts, so it cannot be stepped: a write of the user makes what was read stale too.
            session.run("set var *(unsigned char *) 0x500 = 0")
            before = proxy.sent
            answer = session.run(f"bf {command} --json")
            blocks = answer.count('"owner"') if command == "pools" else 0
            assert proxy.sent - before <= BUDGET + blocks, command


@pytest.fixture(scope="module")
def recompiled(idle_machine: Machine) -> Machine:
    """The idle machine after so many recompilations that their tables are long; paused."""
    machine = idle_machine
    names = [function.name for function in Guest.attach(machine.memory()).kernel().functions()]
    turns = [{"function": names[turn % len(names)], "level": turn % 4} for turn in range(80)]
    machine.resume()
    subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", "compiler", machine.name],
        input="\n".join(map(json.dumps, turns)),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    machine.pause()
    return machine


def test_a_long_history_costs_no_more_unless_all_of_it_is_asked_for(
    gdb: Gdb, recompiled: Machine, tmp_path: Path
) -> None:
    machine = recompiled
    every = {name: json.loads(bareflow(name, machine.name, "--json").out) for name in ("jit", "swaps")}
    with attached(gdb, machine, tmp_path, suite=True) as (session, proxy):
        session.run("bf status")
        for command in (*BOUNDED, "jitsym"):
            if "--diff" in command or "@O" in command:
                # Tiers that were replaced so often are freed by now.
                continue
            session.run("set var *(unsigned char *) 0x500 = 0")
            before = proxy.sent
            session.run(f"bf {command} --json")
            assert proxy.sent - before <= BUDGET, command
        part = {name: json.loads(session.run(f"bf {name} --json")) for name in every}
        assert part["jit"]["unread"] == part["swaps"]["unread"] > 0
        assert "not read" in session.run("bf jit") and "not read" in session.run("bf swaps")
        newest = every["swaps"]["swaps"][-1]
        assert part["swaps"]["swaps"][-1]["to_version"] == newest["to_version"]
        assert {name: json.loads(session.run(f"bf {name} --all --json")) for name in every} == every


def test_every_command_is_in_the_tables(gdb: Gdb) -> None:
    listed = [line.split()[1] for line in gdb.run("help bf").out.splitlines() if line.startswith("bf ")]
    tested = {command.split()[0] for command in (*QUESTIONS, *CHANGES)}
    assert set(listed) - tested == set(RUNS_OR_ASKS_OTHERS)


@pytest.mark.parametrize("used", (False, True), ids=("loaded", "used"))
def test_a_step_inside_jit_code_costs_nothing_more_either(gdb: Gdb, booted: Boot, tmp_path: Path, used: bool) -> None:
    # gdb unwinds at every step; the unwinder for JIT frames must not read for that.
    cost = {}
    for suite in (False, True):
        machine = booted(stage="registered", hold=1)
        guest = Guest.attach(machine.memory())
        entry = next(v.entry for v in guest.kernel().versions() if v.function_name == "primes")
        with attached(gdb, machine, tmp_path, suite=suite) as (session, proxy):
            if suite and used:
                session.run("bf jit")
                session.run("bf jitsym")
                session.run("bf jitsym --detach")
            session.run(f"tbreak *{int(entry)}")
            session.run(f"set var *(unsigned *) {guest.root().address + layouts.offset('bf_root', 'hold')} = 0")
            session.run("continue")
            session.wait_for_stop()
            cost[suite] = packets_of_steps(session, proxy)
    assert cost[True] == cost[False]


def test_a_backtrace_of_kernel_code_costs_nothing_more(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    # Frames are looked up in the guest only where the kernel's ELF knows no function.
    cost = {}
    for suite in (False, True):
        with (
            RspProxy(tmp_path / "gdb.sock", idle_machine.gdb_socket) as proxy,
            MiGdb(gdb.path, script=SCRIPT if suite else None, elf=KERNEL) as session,
        ):
            session.run(f"target remote {proxy.path}")
            if suite:
                session.run("bf jitsym")
            session.run("tbreak run.c:93")
            session.run("continue")
            session.wait_for_stop()
            before = proxy.sent
            assert "kernel_main" in session.run("backtrace")
            cost[suite] = proxy.sent - before
    assert cost[True] == cost[False]
