"""`bareflow swap` on the real guest: what it did is told, what it did not do is told with the reason, by status 1."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import program
import pytest
from machines import SECONDS, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest import orders
from bareflow_gdb.guest.boot.wait import release, wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.obeying import carried_out
from bareflow_gdb.memory.protocol import CheckedMemory, Memory
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

Boot = Callable[..., Machine]


def swap(machine: Machine, *words: str) -> Any:
    done = program.bareflow("swap", *words, machine.name, "--json")
    record = json.loads(done.stdout)
    assert (done.returncode == 0) == record["done"], done
    return record


def said(machine: Machine, *words: str) -> tuple[int, str]:
    done = program.bareflow("swap", *words, machine.name)
    return done.returncode, done.stdout + done.stderr


def level(machine: Machine, name: str) -> int:
    functions = Guest.attach(machine.memory()).kernel().functions()
    return next(function.level for function in functions if function.name == name)


def mail_state(machine: Machine, name: str) -> str:
    slots = Guest.attach(machine.memory()).kernel().mailbox().slots
    return next(slot.state for slot in slots if slot.function == name)


def slot_word(memory: Memory, name: str, field: str, value: int) -> None:
    kernel = Guest.attach(memory).kernel()
    slot = next(slot for slot in kernel.mailbox().slots if slot.function == name)
    memory.write(slot.address + layouts.offset("bf_mail_slot", field), struct.pack("<I", value), field)


def test_a_forced_tier_is_published_and_told_with_both_versions(idle_machine: Machine) -> None:
    record = swap(idle_machine, "force", "compute", "O1")
    assert (record["level_before"], record["level"], record["control"]) == (3, 1, "allow")
    assert record["version"] > record["version_before"]
    assert level(idle_machine, "compute") == 1
    again = swap(idle_machine, "force", "compute", "O1")
    assert "it is there already" in again["message"] and again["version"] == record["version"]


def test_a_rollback_without_a_number_leads_to_the_version_before_and_vetoes(idle_machine: Machine) -> None:
    before = swap(idle_machine, "force", "primes", "O0")
    record = swap(idle_machine, "rollback", "primes")
    assert (record["version"], record["control"]) == (before["version_before"], "veto")
    assert "its swaps are vetoed now" in record["message"]


@pytest.mark.parametrize(("wanted", "why"), [("1", "is fibonacci@O0 #1"), ("9999", "there is no version #9999")])
def test_a_rollback_that_cannot_be_is_refused_with_what_can(idle_machine: Machine, wanted: str, why: str) -> None:
    swap(idle_machine, "allow", "sum")
    code, text = said(idle_machine, "rollback", "sum", wanted)
    assert code == 1 and why in text and "it can be rolled back to: #" in text
    assert swap(idle_machine, "allow", "sum")["version_before"] == swap(idle_machine, "allow", "sum")["version"]


def test_what_the_guest_refuses_is_told_with_its_reason_and_the_veto_stays(booted: Boot) -> None:
    machine = booted(with_disk=False)
    assert swap(machine, "veto", "primes")["done"]
    record = swap(machine, "force", "primes", "O2")
    assert (record["done"], record["reason"], record["level"], record["control"]) == (False, "no_bitcode", 0, "veto")
    code, text = said(machine, "force", "primes", "O2")
    assert code == 1 and "the guest refused: the guest has no such tier of it, and no bitcode" in text
    assert "veto" in program.bareflow("jit", machine.name).stdout


def test_a_version_that_went_away_meanwhile_is_refused_by_the_guest(idle_machine: Machine) -> None:
    memory = idle_machine.memory()
    root = Guest.attach(memory).root()
    made = orders.order(memory, root, "rollback", "strops", None)
    assert isinstance(made, orders.Order)
    record = carried_out(memory, root, replace(made, argument=1), 15)
    assert (record.done, record.reason, record.control) == (False, "rollback", made.slot.control)


def test_vetoed_functions_stay_through_the_run_and_are_shown(booted: Boot) -> None:
    machine = booted("registered", hold=1)
    assert "swaps of primes are vetoed, it stays primes@O0 #4" in said(machine, "veto", "primes")[1]
    release(machine)
    wait_for_stage(machine, "idle")
    assert (level(machine, "primes"), level(machine, "sum")) == (0, 3)
    for question in ("status", "swaps", "jit"):
        text = program.bareflow(question, machine.name).stdout
        assert "vetoed" in text and "primes" in text.split("vetoed", 1)[1].splitlines()[0], question
    assert said(machine, "allow", "primes")[0] == 0
    assert "vetoed" not in program.bareflow("status", machine.name).stdout


def test_on_a_stopped_machine_a_word_stands_and_an_order_is_taken_back(booted: Boot) -> None:
    machine = booted()
    machine.monitor("stop")
    assert said(machine, "veto", "sum")[0] == 0
    code, text = said(machine, "force", "sum", "O1", "--timeout", "0.3")
    assert code == 2 and "the order is taken back" in text and "the machine is stopped" in text
    slots = Guest.attach(machine.memory()).kernel().mailbox().slots
    assert next(slot.control for slot in slots if slot.function == "sum") == "veto"
    machine.monitor("cont")
    wait_for(lambda: said(machine, "allow", "sum")[0] == 0, "the guest's answer")
    assert level(machine, "sum") == 3


def test_who_is_interrupted_while_waiting_takes_the_order_back(booted: Boot) -> None:
    machine = booted()
    machine.pause()
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "swap", "force", "sum", "O1", machine.name]
    # Children of a job in the background inherit that they ignore it.
    asked = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def control() -> str:
        slots = Guest.attach(machine.memory()).kernel().mailbox().slots
        return next(slot.control for slot in slots if slot.function == "sum")

    wait_for(lambda: control() == "force", "the order")
    asked.send_signal(signal.SIGINT)
    assert "interrupted" in asked.communicate(timeout=SECONDS)[1]
    assert control() == "allow"


def test_a_version_that_was_rolled_back_to_is_no_fault_of_the_thresholds(idle_machine: Machine) -> None:
    swap(idle_machine, "rollback", "regex_dfa")
    swap(idle_machine, "allow", "regex_dfa")
    assert "regex_dfa" not in program.bareflow("checks", "thresholds", idle_machine.name).stdout


def test_a_tier_that_the_guest_asks_the_host_for_waits_for_the_host(booted: Boot) -> None:
    machine = booted()
    memory = machine.memory()
    kernel = Guest.attach(memory).kernel()
    index = next(function.index for function in kernel.functions() if function.name == "primes")
    record = kernel.need_interface("").function_table + index * layouts.size("bf_function")
    host = struct.pack("<I", layouts.const("BF_PROVIDER_HOST"))
    memory.write(record + layouts.offset("bf_function", "provider"), host, "provider")
    code, text = said(machine, "force", "primes", "O2", "--timeout", "3")
    assert code == 2 and "asks the host for it, which did not answer within 3 s: `bareflow serve` does" in text
    code, text = said(machine, "force", "primes", "O1")
    assert code == 1 and "another request of this function is open in the mailbox" in text
    done = threading.Event()
    with Service(memory, machine.directory) as service:
        serving = threading.Thread(target=lambda: list(service.serve(done.is_set)), daemon=True)
        serving.start()
        wait_for(lambda: level(machine, "primes") == 2, "what was forced first")
        wait_for(lambda: mail_state(machine, "primes") == "idle", "an idle slot")
        record = swap(machine, "force", "primes", "O1")
        assert (record["done"], record["level"]) == (True, 1), record
        done.set()
        serving.join()


class BetweenTwoReads(CheckedMemory):
    """A machine's memory in which `happens` comes to its end just before the `nth` read of what is at `address`."""

    def __init__(self, memory: Memory, address: int, nth: int, happens: Callable[[], None]) -> None:
        super().__init__(memory.ranges)
        self._memory, self._address, self._reads_left, self._happens = memory, address, nth, happens

    def _fetch(self, address: int, size: int) -> bytes:
        if address <= self._address < address + size:
            self._reads_left -= 1
            if self._reads_left == 0:
                self._happens()
        return self._memory.read(address, size, "what is looked at")

    def _store(self, address: int, data: bytes) -> None:
        self._memory.write(address, data, "what is written")


@pytest.mark.parametrize("nth", [1, 2])
def test_what_the_guest_does_between_two_reads_of_one_look_is_not_a_refusal(booted: Boot, nth: int) -> None:
    machine = booted()
    memory = machine.memory()
    root = Guest.attach(memory).root()
    made = orders.order(memory, root, "force", "compute", "O1")
    assert isinstance(made, orders.Order)
    record = root.function_table + made.function.index * layouts.size("bf_function")
    host = struct.pack("<I", layouts.const("BF_PROVIDER_HOST"))
    memory.write(record + layouts.offset("bf_function", "provider"), host, "provider")
    orders.give(memory, made)
    wait_for(lambda: orders.open_at_host(memory, root, made), "the guest's request")
    assert orders.answer(memory, root, made) is None

    def host_answers() -> None:
        done = threading.Event()
        with Service(memory, machine.directory) as service:
            serving = threading.Thread(target=lambda: list(service.serve(done.is_set)), daemon=True)
            serving.start()
            wait_for(lambda: not orders.open_at_host(memory, root, made), "the host's answer in the guest")
            done.set()
            serving.join()

    late = BetweenTwoReads(memory, made.slot.address, nth, host_answers)
    obeyed = orders.answer(late, root, made) or orders.answer(memory, root, made)
    assert obeyed is not None and (obeyed.done, obeyed.level) == (True, 1), obeyed


@pytest.mark.parametrize("state", ["requested", "compiling", "ready", "rejected"])
def test_a_request_is_answered_when_the_guest_has_left_its_state(idle_machine: Machine, state: str) -> None:
    memory = idle_machine.memory()
    slot = next(slot for slot in Guest.attach(memory).kernel().mailbox().slots if slot.function == "compute")
    assert not replace(slot, request=7, done_request=7, state=state).settled
    assert replace(slot, request=7, done_request=7, state="idle").settled
    assert replace(slot, request=7, done_request=6, state=state).settled


def test_an_application_obeys_too_until_it_is_done(firmware: Path, launched: Boot) -> None:
    machine = launched(firmware / "tinyllama.img", settings=RootSettings(hold=1), with_disk=False)
    wait_for_stage(machine, "registered", SECONDS)
    function = Guest.attach(machine.memory()).kernel().functions()[0]
    record = swap(machine, "force", function.name, "O1")
    assert (record["level_before"], record["level"], record["done"]) == (0, 1, True)
    assert swap(machine, "rollback", function.name)["version"] == function.version
    release(machine)
    wait_for_stage(machine, "halted", SECONDS)
    code, text = said(machine, "force", function.name, "O1")
    assert code == 2 and "nothing is swapped any more: its application is done" in text


def test_a_core_and_a_stock_kernel_are_refused(
    idle_machine: Machine, launched: Boot, tmp_path: Path, firmware: Path
) -> None:
    core = tmp_path / "night.core"
    assert program.bareflow("core", "--out", str(core), idle_machine.name).returncode == 0
    done = program.bareflow("swap", "veto", "sum", str(core))
    assert done.returncode == 2 and "does not run; swaps are controlled in a running machine" in done.stderr
    stock = launched(firmware / "stock" / "stock.img", with_disk=False)
    wait_for(lambda: "END JSON" in stock.serial(), "the stock kernel's end")
    code, text = said(stock, "veto", "fibonacci")
    assert code == 2 and "this is a stock kernel, without the debug interface: it knows no veto" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("force", "primes"), "which tier?"),
        (("force", "primes", "O7"), "O7"),
        (("veto", "nobody"), "no function 'nobody'; its functions are fibonacci"),
        (("rollback", "primes", "O2"), "rollback takes the number of a version"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(idle_machine: Machine, words: tuple[str, ...], why: str) -> None:
    code, text = said(idle_machine, *words)
    assert code == 2 and why in text and "Traceback" not in text


def test_a_word_that_another_host_sets_meanwhile_is_told(idle_machine: Machine) -> None:
    memory = idle_machine.memory()
    root = Guest.attach(memory).root()
    made = orders.order(memory, root, "veto", "quicksort", None)
    assert isinstance(made, orders.Order)
    orders.give(memory, made)
    slot_word(memory, "quicksort", "control", layouts.const("BF_CONTROL_ALLOW"))
    record = orders.answer(memory, root, made)
    assert record is not None and not record.done and "another host" in record.message
