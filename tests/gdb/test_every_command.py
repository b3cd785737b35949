"""Each command in each situation: it answers, or says in one sentence why not, and gdb stays usable.

The table says who answers where. `test_bad_situations.py` has the situations that change in mid-session.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]

ALWAYS = {"doctor", "doctor --host", "reload"}
"""They say what there is, even without a guest."""

# What can be told of a CPU and its RAM before there is a kernel.
WITHOUT_KERNEL = {
    "status",
    "identify 0x200010",
    "identify $esp",
    "checks",
    "diagnose",
    "cpu",
    "irq",
    "screen",
    "serial",
    "fat list",
    "fat cat TEST.TXT",
    "disas 0x7c00",
    "header 0x201000",
    "find",
    "jitsym",
    "jitsym --detach",
    "break-boot kernel",
}
OF_THE_KERNEL = {
    "boot",
    "modules",
    "pools --check",
    "profile",
    "jit",
    "swaps",
    "header primes",
    "bitcode primes",
    "block 0x200010",
    "cache",
    "stack",
    "exception",
    "log",
    "disas primes",
    "disas primes --diff O0 O3",
    "inference",
}
# They set something, or let the guest run.
CHANGES = {"watch primes", "break-swap", "break jit:primes", "step-boot"}
WITH_A_MACHINE = {"recompile primes", "recompile primes --stop", "trace start"}
ORDERS = {"swap allow primes", "scenario stop", "module unload fft_1d"}
"""They want a guest that can run; it need not be stopped."""
TRACED = {"trace status", "trace stop"}
# There are no windows, no ELF that tells entries, the guest is not held, and no language model is in it.
NEVER = {"refresh", "find --at-entry", "release", "tensor logits", "break-layer 0"}
COMMANDS = (
    *sorted(OF_THE_KERNEL | WITHOUT_KERNEL),
    *sorted(NEVER),
    *sorted(CHANGES),
    *sorted(WITH_A_MACHINE),
    *sorted(ORDERS),
    "trace status",
    "trace stop",
    *sorted(ALWAYS),
)
SENTENCE = 400
"""No error is longer than that."""


def test_every_command_is_in_the_table(gdb: Gdb) -> None:
    listed = {line.split()[1] for line in gdb.run("help bf").out.splitlines() if line.startswith("bf ")}
    # These two connect, and wait for a swap: each has a test file of its own.
    assert listed == {command.split()[0] for command in COMMANDS} | {"attach", "step-swap"}


def ask_all(session: MiGdb, folder: Path) -> set[str]:
    """Asks every command; returns those that answered."""
    answered = set()
    for command in COMMANDS:
        place = f" {folder / 'trace'}" if command == "trace start" else ""
        try:
            said = session.run(f"bf {command}{place}")
            answered.add(command)
        except MiError as error:
            said = str(error)
            assert said.startswith(f"bf {command.split()[0]}: "), said
            assert "\n" not in said and len(said) <= SENTENCE, said
        for trouble in ("Traceback", "Python Exception", "Error occurred in Python", "\x1b"):
            assert trouble not in said, (command, said)
        assert session.run("echo alive") == "alive"
        if command in answered & {*CHANGES, "break-boot kernel"}:
            session.run("delete")
    return answered


@contextmanager
def connected(gdb: Gdb, *commands: str, elf: Path | None = None) -> Iterator[MiGdb]:
    with MiGdb(gdb.path, script=SCRIPT, elf=elf) as session:
        for command in commands:
            session.run(command)
        yield session


def test_a_healthy_guest_answers_everything(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with connected(gdb, f"bf attach {machine.name}") as session:
        assert ask_all(session, tmp_path) == set(COMMANDS) - NEVER


def test_through_a_gdbstub_alone_all_but_the_host_answers(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with (
        RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy,
        connected(gdb, f"target remote {proxy.path}") as session,
    ):
        assert ask_all(session, tmp_path) == set(COMMANDS) - NEVER - WITH_A_MACHINE - TRACED


def test_without_a_guest_each_says_how_to_get_one(gdb: Gdb, tmp_path: Path) -> None:
    with connected(gdb) as session:
        assert ask_all(session, tmp_path) == ALWAYS
        with pytest.raises(MiError, match="`bf attach` or `target remote` first"):
            session.run("bf step-swap")


def test_a_running_guest_is_read_and_not_disturbed(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with connected(gdb, f"bf attach {machine.name}", "bf status", "continue &") as session:
        answered = ask_all(session, tmp_path)
        needs_a_stop = {"identify $esp", "jitsym", "break-boot kernel", "recompile primes --stop", *CHANGES}
        assert set(COMMANDS) - answered == NEVER | needs_a_stop
        assert machine.status() == "running"


def test_a_running_guest_that_only_gdb_can_read_says_so(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    with (
        RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy,
        connected(gdb, f"target remote {proxy.path}", "continue &") as session,
    ):
        assert ask_all(session, tmp_path) == ALWAYS | {"jitsym --detach"}
        with pytest.raises(MiError, match="`interrupt` first"):
            session.run("bf status")


@pytest.mark.parametrize("place", ("reset vector", "stage 1"))
def test_in_real_mode_the_cpu_and_its_ram_answer(
    gdb: Gdb, image: Path, launched: Boot, tmp_path: Path, place: str
) -> None:
    machine = launched(image, paused=True)
    with connected(gdb, f"bf attach {machine.name}") as session:
        if place == "stage 1":
            session.run("bf break-boot stage1 --run")
        assert ask_all(session, tmp_path) == ALWAYS | WITHOUT_KERNEL | {"step-boot"}
        with pytest.raises(MiError, match="there is no boot record"):
            session.run("bf boot")
        with pytest.raises(MiError, match="there is no root descriptor in this memory"):
            session.run("bf jit")


def test_ram_full_of_random_bytes_is_no_guest(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    machine.pause()
    noise = random.Random(7)
    machine.memory().write(0, noise.randbytes(0xA0000), "noise")
    machine.memory().write(0x100000, noise.randbytes(0x600000), "noise")
    with connected(gdb, f"bf attach {machine.name}") as session:
        answered = ask_all(session, tmp_path)
    # The CPU is as it was, so it has a stack to show.
    assert answered - {"stack"} == ALWAYS | WITHOUT_KERNEL | {"step-boot"}


@pytest.mark.parametrize("elf", (None, KERNEL), ids=("without ELF", "with ELF"))
def test_a_core_answers_all_that_needs_no_running_guest(
    gdb: Gdb, booted: Boot, tmp_path: Path, elf: Path | None
) -> None:
    machine = booted(stage="idle")
    core = tmp_path / "guest.core"
    machine.qmp("dump-guest-memory", paging=False, protocol=f"file:{core}")
    with connected(gdb, f"core-file {core}", elf=elf) as session:
        answered = ask_all(session, tmp_path)
        with pytest.raises(MiError, match="a core does not run"):
            session.run("bf step-swap")
    alive = {"fat cat TEST.TXT", "break-boot kernel"}
    assert set(COMMANDS) - answered == NEVER | alive | CHANGES | ORDERS | WITH_A_MACHINE | TRACED
