"""`bf cpu`, `bf screen` and their like say what `bareflow` says at the same stop, whichever way memory is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from gdb_harness import EXAMPLES, KERNEL, SCRIPT, Gdb, Result, bareflow
from machines import SECONDS
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

# In gdb a disassembly has the names that gdb knows too.
QUESTIONS = tuple(
    # Without --all it leaves out what costs more than ten packets at a gdbstub.
    "swaps --all" if example == "swaps" else example
    for example in EXAMPLES
    if not example.startswith("disas")
)


@pytest.fixture(scope="module")
def machine(image: Path, firmware: Path) -> Iterator[Machine]:
    """At the end of its run, with a disk."""
    found = launch(image, settings=RootSettings(thresholds=(10, 20, 30)), disk=firmware / "fat16.img")
    wait_for_stage(found, "idle", SECONDS)
    yield found
    found.stop()


def outside(question: str, target: str) -> str:
    """A gdb command that asks the host program while gdb holds the guest."""
    return f"shell {sys.executable} -m bareflow_gdb.cli.main {question} {target} --json"


def both(questions: Sequence[str], target: str) -> list[str]:
    """gdb commands that put each question in gdb and to the host program."""
    asked = [text for item in questions for text in (f"bf {item} --json", outside(item, target))]
    return [text for command in asked for text in ("echo \\n", command)]


def compare(result: Result, questions: Sequence[str]) -> None:
    told = result.values()
    assert len(told) == 2 * len(questions), result.err
    for question, inside, beside in zip(questions, told[::2], told[1::2], strict=True):
        assert inside == beside, question


@pytest.mark.parametrize("way", ("RAM file", "gdbstub"))
def test_bf_and_bareflow_say_the_same_at_one_stop(gdb: Gdb, machine: Machine, tmp_path: Path, way: str) -> None:
    # At a stub gdb has no serial log, and what is checked depends on what a read costs.
    questions = [
        question
        for question in QUESTIONS
        if not question.startswith(("serial", "checks", "diagnose")) or way == "RAM file"
    ]
    with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy:
        path = machine.gdb_socket if way == "RAM file" else proxy.path
        result = gdb.run(f"target remote {path}", *both(questions, machine.name), elf=KERNEL)
    compare(result, questions)


def test_text_and_completion(gdb: Gdb, machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {machine.name}",
        *(f"bf {question}" for question in (*QUESTIONS, "fat list", "stack")),
        "complete bf header pri",
        "complete bf bitcode sha",
        "complete bf fat cat READ",
        "help bf stack",
    )
    for words in (
        "SHA-256      right",
        "i686-unknown-none-elf",
        "magic 0xdeadbeef",
        "kernel_main + 0x",
        "timer (PIT)",
        "BareFlow module disk.",
        "FIBONACC.MOD",
        "--- END JSON ---",
        "bf header primes",
        "bf bitcode sha256",
        "bf fat cat README.TXT",
        "Example: bf stack",
    ):
        assert words in result.out, words
    assert "\x1b" not in result.out


def test_a_header_may_be_named_by_an_expression(gdb: Gdb, machine: Machine) -> None:
    result = gdb.run(f"bf attach {machine.name}", "bf header 0x200000 + 0x20 --json", "bf header nobody")
    assert result.json() == bareflow("header", "0x200020", "--json", machine.name).json()
    assert "bf header: no module 'nobody' is loaded; there are: fibonacci" in result.err


def test_while_the_guest_runs_the_machine_is_asked(gdb: Gdb, machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {machine.name}", "continue &", "bf screen", "bf irq", "bf cpu", "bf cache", "disconnect"
    )
    for words in ("--- END JSON ---", "timer (PIT)", "protected", "Cache of module images"):
        assert words in result.out, words


def test_a_core_in_gdb_has_registers_and_screen(gdb: Gdb, machine: Machine, tmp_path: Path) -> None:
    core = tmp_path / "guest.core"
    machine.dump_core(core)
    questions = ("cpu", "stack", "irq", "screen", "serial", "block 0x200010")
    compare(gdb.run(f"core-file {core}", *both(questions, str(core)), elf=KERNEL), questions)


def test_real_mode_is_told_and_stage_2_is_in_protected_mode_at_its_end(gdb: Gdb, image: Path, launched: Any) -> None:
    machine = launched(image, paused=True)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"target remote {machine.gdb_socket}")
        assert "mode       real" in session.run("bf cpu")
        with pytest.raises(MiError, match="the CPU is in real mode"):
            session.run("bf stack")
        session.run("hbreak *0x7c00")
        session.start("continue")
        session.wait_for_stop()
        assert "SeaBIOS" in session.run("bf screen")
        assert "EIP 0x00007c00 (stage 1)" in session.run("bf cpu")
        session.run("hbreak *0x10004")
        session.start("continue")
        session.wait_for_stop()
        told = session.run("bf cpu")
        assert "mode       protected" in told
        assert "32-bit code" in told


def test_a_screen_in_colours_on_a_terminal(machine: Machine) -> None:
    """The command line on a pseudo-terminal; gdb uses the same renderer."""
    words = f"{sys.executable} -m bareflow_gdb.cli.main screen {machine.name}"
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"], capture_output=True, stdin=subprocess.DEVNULL, check=True
    )
    assert b"\x1b[0;37;40m" in done.stdout
