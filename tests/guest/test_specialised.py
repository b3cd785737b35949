"""`recompile --specialise`: a version for the arguments that a guest calls a function with, kept if it is faster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import SECONDS, wait_for

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.code.jit import JitFunction
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.pgo.arguments import Arguments
from bareflow_gdb.pgo.live import Counting
from bareflow_gdb.pgo.specialised import constants, counted
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.recipe import USUAL
from bareflow_gdb.recompile.service import Service

CALLS = 1_000_000
"""Of each function in turn. The third one, compute, takes some ten microseconds a call: it is called for a minute."""


def function(machine: Machine, name: str) -> JitFunction:
    jit = Guest.attach(machine.memory()).kernel().jit()
    return next(one for one in jit.functions if one.name == name)


@pytest.fixture(scope="module")
def machine(image: Path) -> Iterator[Machine]:
    machine = launch(image, settings=RootSettings(thresholds=(10, 20, 30), run_calls=CALLS))
    try:
        wait_for_stage(machine, "running", SECONDS)
        wait_for(lambda: function(machine, "compute").calls > 1000, "compute to be called")
        yield machine
    finally:
        machine.stop()


def test_the_arguments_are_those_of_the_calls_and_the_version_from_before_runs_again(machine: Machine) -> None:
    before = function(machine, "compute")
    with Service(machine.memory(), machine.directory) as service:
        seen = counted(service, "compute", 3, USUAL, Counting(calls=64))
    assert list(seen.calls) == [before.arguments] and seen.total >= 64 and seen.others == 0
    assert function(machine, "compute").version == before.version


def test_a_version_for_them_stays_if_the_guest_measures_it_faster_and_else_is_taken_back(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = function(machine, "compute")
    code = bareflow(["recompile", "compute", "--specialise", "--json", machine.name])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["correct"], answer["verification"]["state"]) == (True, "agrees")
    made_for = answer["specialised"]
    assert ((made_for["a"], made_for["b"]), made_for["share"]) == (before.arguments, 1.0)
    assert made_for["before"] > 0 and made_for["after"] > 0, "both were measured"
    now = function(machine, "compute")
    assert made_for["kept"] == (made_for["verdict"] == "faster") == (code == 0)
    # The version that counted, the one for any arguments, the one for these.
    assert now.version == (answer["version"] if made_for["kept"] else answer["version"] - 1) > before.version + 1
    assert now.control != "veto" and now.last_result == before.last_result


def test_a_function_that_is_not_called_now_stays_as_it_is_and_nothing_is_found_wrong(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    before = function(machine, "physics_step")
    assert before.calls == 0, "its turn has not come"
    assert bareflow(["recompile", "physics_step", "--specialise", "--seconds", "0.2", machine.name]) == 2
    assert "physics_step was not called while its arguments were counted" in capsys.readouterr().err
    after = function(machine, "physics_step")
    assert (after.version, after.calls) == (before.version, 0)
    swaps = [one for one in Guest.attach(machine.memory()).kernel().swaps().swaps if one.function == "physics_step"]
    assert [(one.from_level, one.to_level, one.reason) for one in swaps] == [(0, 3, "host_asked"), (3, 0, "rollback")]
    # Put back before it ever ran: its record and its events tell of that, and it is no mistake.
    machine.pause()
    found = registry.run(Subject(Guest.attach(machine.memory()).kernel, machine=machine, serial=machine.serial))
    assert [str(one) for one in found.findings if one.bad] == []


def test_both_arguments_are_constants_or_one_or_none() -> None:
    def told(calls: dict[tuple[int, int], int], others: int = 0) -> tuple[int | None, int | None, float] | None:
        found = constants(Arguments(calls, others))
        return found and (found.a, found.b, round(found.share, 2))

    assert told({(100, 7): 60, (100, 8): 40}) == (100, 7, 0.6)
    assert told({(100, 7): 50, (100, 8): 50}) == (100, None, 1.0)
    assert told({(1, 0): 30, (2, 0): 30, (3, 4): 40}) == (None, 0, 0.6)
    assert told({(1, 0): 30, (2, 0): 30}, others=60) is None
    assert told({}) is None


def test_what_cannot_be_is_one_sentence(machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = tmp_path / "compute.c"
    source.write_text("int compute_main(int a, int b) { return a + b; }")
    for words, said in (
        (("--specialise", "--profile"), "--profile and --specialise count different things"),
        (("--specialise", "--from", str(source)), "counted is the function's own bitcode"),
        (("--specialise", "--calls", "0"), "at least one call has to be counted"),
    ):
        assert bareflow(["recompile", "compute", *words, machine.name]) == 2
        assert said in capsys.readouterr().err
