"""`recompile --profile`: a running guest counts the blocks of a function, and its code is compiled by that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.pgo.live import Counting, by_counts, count
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.recipe import USUAL
from bareflow_gdb.recompile.service import Service


@pytest.fixture(scope="module")
def memory(idle_machine: Machine) -> Memory:
    return idle_machine.memory()


@pytest.fixture
def service(idle_machine: Machine, memory: Memory) -> Iterator[Service]:
    with Service(memory, idle_machine.directory) as service:
        yield service


def versions_of(memory: Memory, name: str) -> dict[int, str]:
    memory.invalidate()
    jit = Guest.attach(memory).kernel().jit()
    function = next(one for one in jit.functions if one.name == name)
    assert function.control != "veto"
    return {version.number: version.state for version in function.versions}


def test_the_counts_are_those_of_the_calls_and_the_version_from_before_runs_again(
    memory: Memory, service: Service
) -> None:
    before = versions_of(memory, "sum")
    found = count(service, "sum", 2, USUAL, Counting())
    after = versions_of(memory, "sum")
    counted = {one.name: one.counts for one in found.functions}
    # sum(100) is called once when its code is installed, and its loop runs once for each summand.
    assert list(counted) == ["sum_main"]
    assert 100 in counted["sum_main"] and max(counted["sum_main"]) <= 101
    published = [number for number, state in before.items() if state == "published"]
    assert [number for number, state in after.items() if state == "published"] == published
    assert [after[number] for number in after.keys() - before.keys()] == ["retired"]


def test_what_is_compiled_has_the_counts_in_it_and_must_do_the_same(service: Service) -> None:
    source = by_counts(service, "primes", 3, USUAL, Counting()).source
    assert source is not None and not source.edited
    assert b"branch_weights" in source.payload and b"function_entry_count" in source.payload


def test_the_code_differs_from_that_without_counts_and_does_the_same(
    idle_machine: Machine, memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    def recompiled(*words: str) -> tuple[int, bytes]:
        assert bareflow(["recompile", "primes", *words, "--json", idle_machine.name]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["result"], answer["correct"], answer["verification"]["state"]) == (168, True, "agrees")
        version = next(one for one in Guest.attach(memory).kernel().jit().functions if one.name == "primes")
        number = answer["version"]
        code = next(one for one in version.versions if one.number == number)
        return number, memory.read(code.code, code.code_size, "code")

    (first, plain), (second, counted) = recompiled(), recompiled("--profile")
    (_, again) = recompiled()
    assert plain == again != counted
    assert second == first + 2, "one version that counts, and the one that is compiled by that"


def test_what_cannot_be_counted_is_one_sentence(
    idle_machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = tmp_path / "primes.c"
    source.write_text("int primes_main(int a, int b) { return a + b; }")
    for words, said in (
        (("--profile", "--tier", "O0"), "O0 takes no notice of counts"),
        (("--profile", "--from", str(source)), "counted is the function's own bitcode"),
        (("--calls", "3"), "--calls and --seconds say for how long --profile or --specialise counts"),
        (("--profile", "--calls", "0"), "at least one call has to be counted"),
    ):
        assert bareflow(["recompile", "primes", *words, idle_machine.name]) == 2
        assert said in capsys.readouterr().err
