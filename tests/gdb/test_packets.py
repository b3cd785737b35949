"""What the suite costs on the wire, counted by a proxy between gdb and QEMU's gdbstub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gdb_harness import SCRIPT, Gdb
from mi_gdb import MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]

BUDGET = 10
STEPS = 10
COMMANDS = (
    "status",
    "boot",
    "modules",
    "pools",
    "profile",
    "jit",
    "swaps",
    "identify 0x00200010",
    "identify $esp",
    "header primes",
    "bitcode primes",
    "block 0x00200010",
    "cache",
    "cpu",
    "irq",
    "stack",
    "screen",
    "serial",
    "fat list",
)


@contextmanager
def attached(gdb: Gdb, machine: Machine, folder: Path, *, suite: bool) -> Iterator[tuple[MiGdb, RspProxy]]:
    """gdb at the stopped guest, seen through a proxy, so that the machine's RAM file is not found."""
    script = SCRIPT if suite else None
    with (
        RspProxy(folder / "gdb.sock", machine.gdb_socket) as proxy,
        MiGdb(gdb.path, script=script) as session,
    ):
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


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_costs_at_most_10_packets(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path, command: str
) -> None:
    with attached(gdb, idle_machine, tmp_path, suite=True) as (session, proxy):
        session.run("bf status")
        step(session)
        before = proxy.sent
        session.run(f"bf {command} --json")
        assert 0 < proxy.sent - before <= BUDGET
        again = proxy.sent
        session.run(f"bf {command} --json")
        assert proxy.sent == again, "the second answer at one stop comes out of the cache"


def test_a_machine_with_a_ram_file_costs_no_packet(gdb: Gdb, idle_machine: Machine) -> None:
    # Connected straight to the socket the machine is known, so count what gdb itself logs.
    commands = [f"bf {command} --json" for command in COMMANDS if "$" not in command]
    result = gdb.run(f"bf attach {idle_machine.name}", "bf status", "set debug remote 1", *commands)
    assert "$m" not in result.err.split("Detaching")[0].split("$D")[0]


@pytest.mark.parametrize("used", (False, True), ids=("loaded", "used"))
def test_a_step_inside_jit_code_costs_nothing_more_either(
    gdb: Gdb, booted: Boot, tmp_path: Path, used: bool
) -> None:
    # gdb unwinds at every step; the unwinder for JIT frames must not read for that.
    cost = {}
    for suite in (False, True):
        machine = booted(stage="registered", hold=1)
        guest = Guest.attach(machine.memory())
        entry = next(v.entry for v in guest.versions() if v.function_name == "primes")
        with attached(gdb, machine, tmp_path, suite=suite) as (session, proxy):
            if suite and used:
                session.run("bf jit")
                session.run("bf jitsym")
                session.run("bf jitsym --detach")
            session.run(f"tbreak *{int(entry)}")
            session.run(
                f"set var *(unsigned *) {guest.root().address + layouts.offset('bf_root', 'hold')} = 0"
            )
            session.run("continue")
            session.wait_for_stop()
            cost[suite] = packets_of_steps(session, proxy)
    assert cost[True] == cost[False]
