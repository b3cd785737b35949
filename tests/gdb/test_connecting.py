"""`bf attach` when it cannot: each cause has its own next step, and what the suite can do it does."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import SCRIPT, Gdb
from machines import Boot, wait_for
from mi_gdb import MiGdb

from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.qemu.process import is_stopped

LIST = "`bareflow list` shows the machines that run"


def left_over(folder: Path) -> str:
    path = folder / "left.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return f"unix:{path}"


def a_file(folder: Path) -> str:
    (folder / "file").touch()
    return f"unix:{folder / 'file'}"


@pytest.mark.parametrize(
    ("target", "advice"),
    (
        (lambda folder: f"unix:{folder}/none", LIST),
        (left_over, "its QEMU has ended: start the machine again"),
        (a_file, f"is not a socket; {LIST}"),
        (lambda _: "tcp:localhost:1", "nothing listens there: start QEMU with -s or -gdb tcp::PORT"),
        (lambda _: "tcp:nosuch.invalid:1234", "check the name of the host"),
        (lambda _: "tcp:localhost", "write tcp:HOST:PORT"),
    ),
    ids=("no socket", "left over", "file", "refused", "host", "port"),
)
def test_what_is_not_there_has_its_own_next_step(
    gdb: Gdb, tmp_path: Path, target: Callable[[Path], str], advice: str
) -> None:
    said = gdb.run("set tcp connect-timeout 1", f"bf attach {target(tmp_path)}").err
    assert said.startswith("bf attach: ") and said.endswith(f"{advice}\n"), said


def test_a_machine_that_another_debugger_has_is_not_called_dead(gdb: Gdb, idle_machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(idle_machine.gdb_socket))
        wait_for(lambda: idle_machine.status() == "paused", "QEMU to take the connection")
        said = gdb.run("set remotetimeout 1", f"bf attach {idle_machine.name}").err
        assert said.endswith("end that connection with `detach`, then attach again\n"), said
    idle_machine.resume()


def test_who_attaches_to_another_machine_lets_go_of_the_first_one(
    gdb: Gdb, idle_machine: Machine, booted: Boot
) -> None:
    other = booted()
    names = (idle_machine.name, idle_machine.name, other.name, "nobody")
    done = gdb.run(*(f"bf attach {name}" for name in names), "info connections", "continue &", f"bf attach {names[0]}")
    assert "gdb was connected to it already" in done.out
    assert f"gdb has let go of {idle_machine.gdb_socket}, whose guest runs on" in done.out
    assert re.search(rf"^\* 2 +remote {other.gdb_socket} ", done.out, re.MULTILINE), "nobody is no reason to let go"
    assert f"gdb has {other.gdb_socket}, whose guest runs; stop it with `interrupt`" in done.err
    assert idle_machine.status() == "running"


def test_a_stopped_qemu_is_named_with_the_way_to_wake_it(gdb: Gdb, idle_machine: Machine) -> None:
    os.kill(idle_machine.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: is_stopped(idle_machine.pid), "QEMU to stop")
        said = gdb.run("set remotetimeout 1", f"bf attach {idle_machine.name}").err
    finally:
        os.kill(idle_machine.pid, signal.SIGCONT)
    assert said.endswith(f"its QEMU is stopped by a signal: `kill -CONT {idle_machine.pid}` in a shell\n"), said


@pytest.mark.parametrize("left", ("i386:x86-64", "i386:x64-32", "i8086", "i386", "auto"))
def test_an_architecture_left_in_gdbinit_is_no_obstacle(gdb: Gdb, idle_machine: Machine, left: str) -> None:
    done = gdb.run(
        f"set architecture {left}",
        f"bf attach {idle_machine.name}",
        "bf status",
        "p $eip",
        "show architecture",
        "detach",
    )
    assert "attached to" in done.out and "Status" in done.out and "$1 = " in done.out, done.err
    changed = "it is `auto` now" in done.out
    assert changed == (left.startswith("i386:x")), done.out


def test_qmp_is_answered_while_gdb_steps_the_guest(gdb: Gdb, idle_machine: Machine) -> None:
    """Each step sends events to whoever connects, before QEMU's greeting; 3 connections in 100 were lost by them."""
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        session.start("stepi 100000000")
        session.wait_for_running()
        for _ in range(400):
            idle_machine.status()
    idle_machine.resume()


def test_connections_that_ended_hold_nothing_of_the_guest_open(gdb: Gdb, idle_machine: Machine) -> None:
    cycle = (f"bf attach {idle_machine.name}", "bf jit", "bf jitsym", "detach")
    held = "python print('HELD', open('/proc/self/maps').read().count('.ram'))"
    # What the last one held goes with the next command.
    done = gdb.run(*cycle * 8, held)
    assert done.out.count("adaptive JIT") == 8, done.err
    assert int(done.out.split("HELD")[1]) <= 1
