"""The guest gets no code from the host that does something else than the code it has, unless that is asked for."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bitcode_in_guest import replaced
from guest_code import MODULES, bitcode
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.code.outcome import Verification
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile import answering, verification
from bareflow_gdb.recompile.link import Linked
from bareflow_gdb.recompile.service import Service
from bareflow_gdb.recompile.verify.native import CannotRun, Native

INTEGER = ("fibonacci", "sum", "compute", "primes", "sha256", "matrix_mul", "quicksort", "strops", "regex_dfa")
X87 = ("fft_1d", "gemm_tile", "physics_step")


@pytest.fixture(scope="module")
def memory(idle_machine: Machine) -> Memory:
    return idle_machine.memory()


@pytest.fixture
def service(idle_machine: Machine, memory: Memory) -> Iterator[Service]:
    with Service(memory, idle_machine.directory) as service:
        yield service


def published(service: Service, name: str) -> int:
    """The code pointer in the function's slot."""
    service.memory.invalidate()
    return int.from_bytes(service.memory.read(service.find(name).slot, 4, "slot"), "little")


def miscompiled(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """From now on the linked code is another one than LLVM made."""
    really = answering.link

    def link(*words: Any) -> Any:
        made = really(*words)
        return dataclasses.replace(made, code=change(made.code)) if isinstance(made, Linked) else made

    monkeypatch.setattr(answering, "link", link)


@pytest.mark.parametrize("name", INTEGER)
def test_code_for_integers_is_verified_at_each_level_against_another_and_says_what_that_cost(
    service: Service, name: str
) -> None:
    for level in (0, 3, 1, 2):
        outcome = service.request(name, level, SECONDS)
        assert outcome.correct, outcome.message
        told = outcome.verification
        assert told is not None and told.state == "agrees", told
        assert told.against.startswith(f"{name}@O")
        assert told.inputs >= 1 and told.reason == ""
        assert told.milliseconds is not None and outcome.milliseconds.verify is not None


def test_x87_code_is_compared_on_the_hosts_own_cpu(service: Service) -> None:
    for name in X87:
        for level in (0, 3):
            outcome = service.request(name, level, SECONDS)
            assert outcome.correct, outcome.message
            told = outcome.verification
            assert told is not None and (told.state, told.native) == ("agrees", True), told
            assert told.inputs >= 1


def test_x87_code_is_unverified_where_that_cannot_be_done_and_it_is_said_why(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise CannotRun("this host runs no programs for i386")

    monkeypatch.setattr(Native, "start", cannot)
    outcome = service.request("gemm_tile", 3, SECONDS)
    assert outcome.correct, outcome.message
    told = outcome.verification
    assert told is not None and told.state == "not verified"
    assert "it has x87 code" in told.reason and "this host runs no programs for i386" in told.reason


def test_a_miscompilation_of_x87_code_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    before = published(service, "gemm_tile")
    # faddp becomes fsubrp.
    miscompiled(monkeypatch, lambda code: code.replace(b"\xde\xc1", b"\xde\xe1"))
    outcome = service.request("gemm_tile", 0, SECONDS)
    assert (outcome.state, outcome.reason) == ("rejected", "differs"), outcome
    assert "returns" in outcome.message
    assert published(service, "gemm_tile") == before


def test_a_miscompilation_is_refused_with_its_smallest_input_and_the_guest_keeps_its_code(
    service: Service, idle_machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (MODULES / "compute.c").read_text()
    assert source.count("#define MODULUS 1000") == 1
    before = published(service, "compute")
    # The remainder is made with -1000 in read-only data at O3, with an immediate operand at O0.
    changed = struct.pack("<I", 1000), struct.pack("<I", 999)
    miscompiled(monkeypatch, lambda code: code.replace(*changed))
    outcome = service.request("compute", 0, SECONDS)
    assert (outcome.state, outcome.reason, outcome.version) == ("rejected", "differs", None)
    assert "the new code differs from compute@O" in outcome.message
    assert "returns" in outcome.message and "the published code" in outcome.message
    assert published(service, "compute") == before
    service.close()
    assert bareflow(["recompile", "compute", "--tier", "O0", idle_machine.name]) == 1
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "rejected (differs)" in said.err
    assert bareflow(["recompile", "compute", "--tier", "O0", "--no-verify", idle_machine.name]) == 1
    assert "expected 4,488,500" in capsys.readouterr().out, "it was handed over, and is wrong"
    monkeypatch.undo()
    with Service(service.memory, idle_machine.directory, verify=False) as trusting:
        assert trusting.request("compute", 3, SECONDS).correct


def test_a_register_that_is_lost_is_refused_although_results_are_right(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pop esi; pop edi; pop ebx; pop ebp; ret becomes add esp, 12 in one byte less … as long as there are three pops.
    pops = {b"\x5e\x5f\x5b\x5d\xc3": b"\x5b\x5f\x5e\x5d\xc3", b"\x5f\x5e\x5b\x5d\xc3": b"\x5b\x5e\x5f\x5d\xc3"}

    def change(code: bytes) -> bytes:
        for old, new in pops.items():
            code = code.replace(old, new)
        return code

    miscompiled(monkeypatch, change)
    outcome = service.request("primes", 3, SECONDS)
    assert (outcome.state, outcome.reason) == ("rejected", "differs")
    assert "does not keep EBX" in outcome.message


def test_bitcode_of_another_program_is_refused(service: Service, memory: Memory, tmp_path: Path) -> None:
    payload = bitcode(tmp_path, "int sum_main(int a, int b) { return a > 50 ? 0 : (a + b) * (b - a + 1) / 2; }", "-g0")
    with replaced(memory, service.find("sum"), payload):
        outcome = service.request("sum", 3, SECONDS)
    assert (outcome.state, outcome.reason) == ("rejected", "differs")
    assert "leaves" in outcome.message and "sum_calls" in outcome.message, "it does not count its calls"


def test_what_the_guest_was_seen_to_call_is_compared_first(service: Service, memory: Memory) -> None:
    ring = one(memory, "bf_ring_header", service.root.rings[0], "ring header")
    at = service.root.rings[0] + layouts.offset("bf_ring_header", "type_mask")
    memory.write(at, struct.pack("<I", ring.type_mask | 1 << layouts.const("BF_EVENT_CALL")), "type mask")
    try:
        assert service.request("fibonacci", 2, SECONDS).correct
        function = service.find("fibonacci")
        record = service.root.function_table + function.index * layouts.size("bf_function")
        arguments = record + layouts.offset("bf_function", "arguments")
        memory.write(arguments, struct.pack("<i", 17), "arguments")
        outcome = service.request("fibonacci", 3, SECONDS)
    finally:
        memory.write(at, struct.pack("<I", ring.type_mask), "type mask")
        memory.write(arguments, struct.pack("<i", 20), "arguments")
    assert outcome.verification is not None
    assert outcome.verification.seen == 1, "fibonacci(20), which is not its usual input now"


def test_an_impossible_place_for_the_new_code_is_outlived(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    really = verification.begin

    def elsewhere(*words: Any, **more: Any) -> Any:
        room = dataclasses.replace(words[5], code=0xFFFFFFF0)
        told = really(*words[:5], room, *words[6:], **more)
        assert isinstance(told, Verification)
        return told

    monkeypatch.setattr(verification, "begin", elsewhere)
    for name in ("primes", "gemm_tile"):
        told = service.request(name, 3, SECONDS).verification
        assert told is not None and told.state == "not verified"
        assert "outside of the memory" in told.reason


def test_the_answer_tells_it_in_text_and_in_json(idle_machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert bareflow(["recompile", "primes", "--json", idle_machine.name]) == 0
    told = json.loads(capsys.readouterr().out)["verification"]
    assert told["state"] == "agrees" and told["inputs"] > 0
    assert bareflow(["recompile", "primes", idle_machine.name]) == 0
    assert "  verified    as primes@O3 #" in capsys.readouterr().out
    assert bareflow(["recompile", "primes", "--no-verify", idle_machine.name]) == 0
    assert "verified" not in capsys.readouterr().out
