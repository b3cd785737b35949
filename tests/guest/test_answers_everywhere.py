"""The same question has the same answer from RAM, over the gdbstub, from a core and from a raw dump.

The command line says it with the right exit code, and over a gdbstub each takes ten packets at most.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import record_of
from elftools.elf.elffile import ELFFile
from machines import SECONDS, Boot

from bareflow_gdb.cli import main as cli
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.guest.code.costs import COSTS_PACKETS
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import to_json

# What else than tables they read: registers, the screen, files.
BESIDE = ("cpu", "irq", "stack", "screen", "serial", "fat", "checks", "diagnose")
VERBS = [name for name in registry.plain() if name not in BESIDE]
QUESTIONS = (*VERBS, "mailbox", "rings", "bitcode")
PACKETS = 10
NO = {"inference": 1}
"""Exit codes: no language model is at work in it."""


def answer(guest: Guest, name: str) -> Any:
    return to_json(record_of(guest, name) if name in VERBS else getattr(guest.kernel(), name)())


@pytest.fixture(scope="module")
def paused(idle_machine: Machine) -> Iterator[Machine]:
    idle_machine.pause()
    yield idle_machine
    idle_machine.resume()


@pytest.fixture(scope="module")
def core(paused: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("core") / "core"
    paused.dump_core(path)
    return path


@pytest.fixture(scope="module")
def answers(paused: Machine) -> dict[str, Any]:
    """Each question's JSON from the RAM of the paused guest."""
    guest = Guest.attach(paused.memory())
    return {question: answer(guest, question) for question in QUESTIONS}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_core_answers_like_the_guest(core: Path, answers: dict[str, Any], question: str) -> None:
    assert answer(Guest.attach(ElfCore(core)), question) == answers[question]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_raw_dump_answers_like_the_guest(
    paused: Machine, answers: dict[str, Any], tmp_path: Path, question: str
) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(paused.read_physical(0, 8 << 20))
    assert answer(Guest.attach(RawDump(dump)), question) == answers[question]


def test_the_gdbstub_answers_like_the_guest_within_ten_packets(paused: Machine, answers: dict[str, Any]) -> None:
    # Where each read costs a packet, digests are computed only when they are asked for.
    modules = [module | {"digest": "not checked"} for module in answers["modules"]["modules"]]
    # So is what the calls of each version cost.
    swaps = [swap | {"worth": None} for swap in answers["swaps"]["swaps"]]
    expected = answers | {
        "modules": answers["modules"] | {"modules": modules},
        "swaps": answers["swaps"] | {"swaps": swaps, "no_worth": COSTS_PACKETS},
    }
    with GdbStub.connect(f"unix:{paused.gdb_socket}") as stub:
        guest = Guest.attach(stub)
        for question in QUESTIONS:
            stub.invalidate()
            before = stub.packets
            record = answer(guest, question)
            # No command asks for bitcode: its wrappers lie far from one another, a packet each.
            assert stub.packets - before <= PACKETS or question == "bitcode", question
            assert record == expected[question], question
        for address in (0x10100, 0x200020, 0x2C0020, guest.root().adaptive_jit + 6700, 0x600010):
            stub.invalidate()
            before = stub.packets
            guest.kernel().identify(address)
            assert stub.packets - before <= PACKETS, hex(address)
    # Detaching let it run; the other tests expect it paused.
    paused.pause()


@pytest.mark.parametrize("verb", VERBS)
def test_the_command_line_prints_the_same_record(
    paused: Machine, core: Path, answers: dict[str, Any], capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    for target in (paused.name, str(core)):
        assert cli.main([verb, "--json", target]) == NO.get(verb, 0)
        assert json.loads(capsys.readouterr().out) == answers[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_a_table_goes_to_stdout_and_its_source_to_stderr(
    paused: Machine, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert cli.main([verb, paused.name]) == NO.get(verb, 0)
    told = capsys.readouterr()
    assert "\x1b" not in told.out
    assert told.out.strip()
    assert told.err.startswith(f"(machine {paused.name}")
    assert verb == "swaps" or "root descriptor found by image header" in told.err


def test_identify_and_pools_take_their_options(paused: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identify", "0x200010", paused.name]) == 0
    assert "object     module " in capsys.readouterr().out
    assert cli.main(["identify", "0xfee00000", paused.name]) == 1
    capsys.readouterr()
    assert cli.main(["pools", "data", "--check", "--json", paused.name]) == 0
    assert [pool["kind"] for pool in json.loads(capsys.readouterr().out)["pools"]] == ["data"]


def test_no_guest_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["jit", "no-such-machine"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1


def test_a_held_guest_is_told_as_held_and_shows_its_own_thresholds(
    booted: Boot, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = booted("registered", hold=1, thresholds=(7, 70, 700))
    assert cli.main(["status", "--json", machine.name]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["stage"], status["held"], status["thresholds"]) == ("registered", True, [7, 70, 700])
    assert [function["level"] for function in status["functions"]] == [0] * len(status["functions"])
    guest = Guest.attach(machine.memory())
    assert guest.kernel().swaps().swaps == ()
    assert [function.next_threshold for function in guest.kernel().jit().functions] == [7] * len(status["functions"])


def test_a_guest_that_died_in_jit_code_is_explained(booted: Boot, capsys: pytest.CaptureFixture[str]) -> None:
    """A slot that leads into UD2: the exception, its place, the slot that no version explains."""
    machine = booted("registered", hold=1)
    guest = Guest.attach(machine.memory())
    nowhere = 0x130000
    guest.memory.write(nowhere, b"\x0f\x0b", "UD2")
    guest.memory.write(guest.kernel().functions()[0].slot, struct.pack("<I", nowhere), "slot")
    release(machine)
    wait_for_stage(machine, "halted", SECONDS)
    assert cli.main(["status", "--json", machine.name]) == 1
    status = json.loads(capsys.readouterr().out)
    assert (status["exception"], status["exception_eip"]) == ("#UD invalid opcode", f"0x{nowhere:08x}")
    assert f"`identify 0x{nowhere:x}`" in status["next_step"]
    assert cli.main(["exception", machine.name]) == 1
    assert "#UD invalid opcode (vector 6)" in capsys.readouterr().out
    assert cli.main(["identify", hex(nowhere), machine.name]) == 0
    assert "heap" in capsys.readouterr().out
    assert cli.main(["jit", "--json", machine.name]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any("fibonacci runs 0x00130000, its version 1 begins at" in problem for problem in problems)
    assert guest.kernel().exception().code.startswith("0f0b")


def test_questions_asked_while_the_guest_runs_are_answered_steadily(booted: Boot) -> None:
    machine = booted("registered", hold=1, thresholds=(100, 400, 1600))
    guest = Guest.attach(machine.memory())
    release(machine)
    stages = set()
    while "idle" not in stages:
        status = guest.kernel().status()
        stages.add(status.stage)
        assert status.problems == ()
        jit = guest.kernel().jit()
        assert all(1 <= len(function.versions) <= 4 for function in jit.functions)
        guest.kernel().pools()
        guest.kernel().profile()
    assert "running" in stages
    assert guest.kernel().jit().problems == ()


def test_identify_names_what_the_elf_knows(paused: Machine, firmware: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (firmware / "kernel.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        called = next(symbol for symbol in table.iter_symbols() if symbol.name == "adaptive_jit_call")
    address = called["st_value"] + 5
    assert cli.main(["identify", hex(address), paused.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["region"], found["name"], found["offset"]) == ("kernel", "adaptive_jit_call", 5)
