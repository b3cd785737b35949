"""`bareflow scenario` and `run --scenario`: what the run does is chosen before it begins, and a flood is ended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import program
import pytest
from machines import wait_for

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.scenario import choose, number
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


def scenario(machine: Machine, word: str) -> Any:
    done = program.bareflow("scenario", word, machine.name, "--json")
    record = json.loads(done.stdout)
    assert (done.returncode == 0) == record["done"], done
    return record


def test_a_held_guest_runs_the_scenario_that_was_chosen(booted: Boot) -> None:
    machine = booted("registered", hold=1)
    record = scenario(machine, "call-cost")
    assert (record["before"], record["scenario"], record["done"]) == ("run", "call-cost", True)
    release(machine)
    wait_for_stage(machine, "idle")
    assert "[BENCH] 16384 calls: bare" in machine.serial()


def test_a_flood_goes_on_until_it_is_stopped_and_the_answer_waits_for_its_end(booted: Boot) -> None:
    machine = booted("running", scenario=2)
    wait_for(lambda: Guest.attach(machine.memory()).kernel().rings()[0].head > 100_000, "a flood of events")
    record = scenario(machine, "stop")
    assert (record["stage"], record["done"]) == ("idle", True)
    assert " events, result 0x" in machine.serial()


def test_every_function_is_called_in_its_turn_until_that_is_stopped(booted: Boot) -> None:
    machine = booted("running", scenario=number("calls"))
    kernel = Guest.attach(machine.memory()).kernel

    def calls() -> dict[str, int]:
        return {one.name: one.calls for one in kernel().profile().functions}

    wait_for(lambda: min(calls().values()) > 10_100, "calls beyond the last threshold")
    assert {function.level for function in kernel().functions()} == {3}
    assert max(calls().values()) - min(calls().values()) <= 100, "one after the other"
    record = scenario(machine, "stop")
    assert (record["stage"], record["done"]) == ("idle", True)
    counted = re.search(r"\[CALLS\] (\d+) calls, 0 wrong  \[OK\]", machine.serial())
    assert counted is not None and int(counted[1]) == sum(calls().values())


def test_a_kernel_that_has_no_such_scenario_is_not_told_to_run_it(booted: Boot) -> None:
    machine = booted("registered", hold=1)
    memory = machine.memory()
    root = replace(Guest.attach(memory).root(), abi="1.5")
    with pytest.raises(UsageError, match="has no scenario calls; build one with"):
        choose(memory, root, "calls")


def test_a_run_that_has_begun_reads_the_word_no_more(idle_machine: Machine) -> None:
    record = scenario(idle_machine, "ring-cost")
    assert (record["scenario"], record["done"]) == ("run", False) and "the run has begun" in record["message"]
    assert "there is nothing to stop" in scenario(idle_machine, "stop")["message"]


def test_a_stopped_machine_ends_it_when_it_goes_on(booted: Boot) -> None:
    machine = booted("running", scenario=2)
    machine.pause()
    record = scenario(machine, "stop")
    assert record["done"] and "when it goes on" in record["message"]
    machine.monitor("cont")
    wait_for_stage(machine, "idle")


def test_run_takes_it_too() -> None:
    done = program.bareflow("run", "--name", "scenarios", "--scenario", "module-life", "--wait", "idle", "--json")
    try:
        assert done.returncode == 0, done.stderr
        assert "module-life" in json.dumps(scenario(Machine.find("scenarios"), "stop"))
    finally:
        program.bareflow("stop", "scenarios")
