"""`bareflow serve`, whatever a guest, its restart or the file system do: a request may end, the serving goes on."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bitcode_in_guest import replaced
from guest_code import bitcode
from machines import SECONDS, Boot, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.pace import AT_ONCE, Pace
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.boot import stage_number, stage_of
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile import mailbox
from bareflow_gdb.recompile.service import JOBS_PER_FUNCTION, Service


@pytest.fixture(scope="module")
def memory(idle_machine: Machine) -> Memory:
    return idle_machine.memory()


class Slot:
    """A function's slot, looked at and written to as the guest would."""

    def __init__(self, service: Service, name: str) -> None:
        self.service = service
        self.memory = service.memory
        self.index = service.find(name).index

    def read(self) -> MailSlot:
        functions = self.service.functions()
        return read_mailbox(self.memory, self.service.root, functions).slots[self.index]

    def write(self, field: str, value: int) -> None:
        at = self.read().address + layouts.offset("bf_mail_slot", field)
        self.memory.write(at, struct.pack("<I", value & 0xFFFFFFFF), field)

    def ask(self, level: int) -> None:
        doorbell = self.service.root.mailbox + layouts.offset("bf_mailbox", "doorbell")
        mailbox.ask(self.memory, self.read(), doorbell, level)


@contextmanager
def serving_beside(service: Service) -> Iterator[None]:
    """The service serves in a thread of this process."""
    stop = threading.Event()
    thread = threading.Thread(target=lambda: list(service.serve(stop.is_set)))
    thread.start()
    try:
        yield
        assert thread.is_alive(), "it serves still"
    finally:
        stop.set()
        thread.join()


@contextmanager
def stopped_worker(service: Service) -> Iterator[None]:
    """What the first worker compiles does not end before this does."""
    service.compiler.timeout = SECONDS
    service.compiler.wait_ready()
    pid = service.compiler.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_compilation_that_does_not_end_delays_no_other_function(idle_machine: Machine, memory: Memory) -> None:
    with Service(memory, idle_machine.directory) as server, Service(memory, idle_machine.directory) as asker:
        with stopped_worker(server), serving_beside(server):
            slot = Slot(asker, "sum")
            slot.ask(3)
            wait_for(lambda: slot.read().state == "compiling", "the compilation")
            for name in ("primes", "fibonacci", "primes"):
                assert asker.request(name, 2, SECONDS).correct
            assert slot.read().state == "compiling"
        with serving_beside(server):
            wait_for(lambda: slot.read().state == "idle", "the end of the first compilation")
            assert slot.read().done_state == "installed"


def test_what_a_person_asks_for_does_not_wait_for_what_the_guest_asks_for(
    idle_machine: Machine, memory: Memory
) -> None:
    with Service(memory, idle_machine.directory) as service:
        with stopped_worker(service):
            slot = Slot(service, "sum")
            slot.ask(3)
            wait_for(lambda: service._turn() or service.compiler.busy, "the compilation that the guest asked for")
            assert service.request("primes", 3, SECONDS).correct
            assert slot.read().state == "compiling"
        assert service.request("sum", 3, SECONDS).correct


def test_a_flood_of_requests_that_never_end_is_bounded(idle_machine: Machine, memory: Memory) -> None:
    taken: list[str] = []
    with Service(memory, idle_machine.directory, taken.append) as service, serving_beside(service):
        slot = Slot(service, "primes")
        before = slot.read()
        requested = layouts.const("BF_MAIL_REQUESTED")
        try:
            for number in itertools.count(0x40000000, -1):
                slot.write("request", number)
                slot.write("level_wanted", 2)
                slot.write("state", requested)
                assert len(service._jobs) <= JOBS_PER_FUNCTION + 1
                if len(taken) > 100:
                    break
        finally:
            slot.write("state", layouts.const("BF_MAIL_IDLE"))
            slot.write("request", before.request)
        assert service.compilers.all == [service.compiler]
    with Service(memory, idle_machine.directory) as service:
        wait_for(lambda: Slot(service, "primes").read().state == "idle", "the guest to be done with it")
        assert service.request("primes", 3, SECONDS).correct


@contextmanager
def server(machine: Machine, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`bareflow serve`; what it says goes to this file."""
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", machine.name]
    with said.open("w") as file, subprocess.Popen(words, stdout=file, stderr=file) as process:
        try:
            wait_for(lambda: "Ctrl-C ends it" in said.read_text(), "the server")
            yield process
            assert process.poll() is None, said.read_text()
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()


def test_answers_that_cannot_be_written_do_not_end_it(idle_machine: Machine, memory: Memory, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", idle_machine.name]
    said = tmp_path / "said"
    with (
        Path("/dev/full").open("w") as full,
        said.open("w") as file,
        subprocess.Popen(words, stdout=full, stderr=file) as process,
    ):
        try:
            wait_for(lambda: "Ctrl-C ends it" in said.read_text(), "the server")
            with Service(memory, idle_machine.directory) as asker:
                assert asker.request("primes", 2, SECONDS).correct
                wait_for(lambda: "(No space left on device); the guest is served on" in said.read_text(), "its word")
                assert asker.request("primes", 2, SECONDS).correct
                assert not asker.serving
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            # What is lost is told by the exit code.
            assert process.wait(SECONDS) == 2
        finally:
            process.kill()


def words_of_mailbox(service: Service, field: str) -> int:
    return int(service.root.mailbox + layouts.offset("bf_mailbox", field))


def other_magic(service: Service) -> tuple[int, int]:
    return words_of_mailbox(service, "magic"), 0x12345678


def slots_in_device_memory(service: Service) -> tuple[int, int]:
    return words_of_mailbox(service, "slots"), 0xA0000


def slots_nowhere(service: Service) -> tuple[int, int]:
    return words_of_mailbox(service, "slots"), 0xFFFFFF00


def slots_unaligned(service: Service) -> tuple[int, int]:
    return words_of_mailbox(service, "slots"), 1


def no_slots(service: Service) -> tuple[int, int]:
    return words_of_mailbox(service, "slot_count"), 0


def count_of_functions(service: Service) -> tuple[int, int]:
    return int(service.root.status + layouts.offset("bf_status", "function_count")), 0xFFFFFFFF


def no_functions(service: Service) -> tuple[int, int]:
    return int(service.root.status + layouts.offset("bf_status", "function_count")), 0


def no_root(service: Service) -> tuple[int, int]:
    return int(service.root.address), 0


MAILBOX_ATTACKS = (other_magic, slots_in_device_memory, slots_nowhere, slots_unaligned)
ATTACKS = (*MAILBOX_ATTACKS, no_slots, count_of_functions, no_functions, no_root)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_word_that_is_wrong_for_a_while_does_not_end_it(
    idle_machine: Machine, memory: Memory, tmp_path: Path, attack: Callable[[Service], tuple[int, int]]
) -> None:
    said = tmp_path / "said"
    with server(idle_machine, said), Service(memory, idle_machine.directory) as asker:
        address, wrong = attack(asker)
        right = memory.read(address, 4, "word")
        before = said.read_text()
        memory.write(address, struct.pack("<I", wrong), "word")
        try:
            if attack in MAILBOX_ATTACKS:
                wait_for(lambda: said.read_text() != before, "the server's sentence")
        finally:
            memory.write(address, right, "word")
        assert asker.request("primes", 2, SECONDS).correct
        assert not asker.serving


@pytest.mark.parametrize("attack", [*MAILBOX_ATTACKS, no_slots])
def test_who_asks_of_a_mailbox_that_is_wrong_is_told_so(
    idle_machine: Machine, memory: Memory, attack: Callable[[Service], tuple[int, int]]
) -> None:
    with Service(memory, idle_machine.directory) as asker:
        address, wrong = attack(asker)
        right = memory.read(address, 4, "word")
        memory.write(address, struct.pack("<I", wrong), "word")
        try:
            with pytest.raises(BareflowError, match="mailbox"):
                asker.request("primes", 2, 1.0)
        finally:
            memory.write(address, right, "word")
        assert asker.request("primes", 2, SECONDS).correct


def test_a_state_that_changes_while_it_is_compiled_ends_that_request(idle_machine: Machine, memory: Memory) -> None:
    with Service(memory, idle_machine.directory) as service:
        slot = Slot(service, "sum")
        with stopped_worker(service), serving_beside(service):
            slot.ask(2)
            wait_for(lambda: slot.read().state == "compiling", "the compilation")
            slot.write("state", layouts.const("BF_MAIL_REJECTED"))
            # The guest takes that for the host's answer.
            wait_for(lambda: slot.read().state == "idle", "the guest to go on")
            assert service.find("sum").name == "sum"
        with serving_beside(service), Service(memory, idle_machine.directory) as asker:
            assert asker.request("sum", 2, SECONDS).correct
            assert asker.request("primes", 2, SECONDS).correct


def test_a_version_whose_symbols_cannot_be_kept_is_installed(
    idle_machine: Machine, memory: Memory, tmp_path: Path
) -> None:
    lines: list[str] = []
    with Service(memory, idle_machine.directory, lines.append) as service:
        assert service._store is not None
        folder = service._store.folder
        shutil.move(folder, tmp_path / "jit")
        try:
            outcome = service.request("primes", 3, SECONDS)
        finally:
            shutil.move(tmp_path / "jit", folder)
        assert outcome.correct
        assert outcome.symbol_file is None
        assert any("the symbols of primes cannot be kept" in line for line in lines)
        (folder / "index.json").write_text("{")
        assert service.request("primes", 2, SECONDS).correct
        (folder / "index.json").unlink()


def test_a_guest_that_restarts_is_served_again(booted: Boot, tmp_path: Path) -> None:
    machine = booted()
    memory = machine.memory()
    with server(machine, tmp_path / "said"):
        machine.qmp("system_reset")
        wait_for(lambda: stage_of(memory) < stage_number("idle"), "the restart")
        wait_for_stage(machine, "idle", SECONDS)
        with Service(memory, machine.directory) as asker:
            assert not asker.serving
            assert asker.request("sum", 3, SECONDS).correct


def test_a_request_that_the_guest_has_overtaken_is_told_as_one(firmware: Path, booted: Boot, tmp_path: Path) -> None:
    # The guest asks for the first tier, and finds the next ones on the disk.
    disk = Path(shutil.copy(firmware / "fat16.img", tmp_path / "fat16.img"))
    subprocess.run(["mdel", "-i", str(disk), "::COMPUTE.O1"], check=True)
    machine = booted(disk=disk)
    status = Guest.attach(machine.memory()).kernel().status()
    assert status.mail == ("compute: requested O1, overtaken",)
    assert "`recompile`" not in status.next_step
    said = tmp_path / "said"
    with server(machine, said):
        wait_for(lambda: "(cancelled)" in said.read_text(), "the answer")
    assert "compute runs a tier as high by now: the guest had asked for O1 before" in said.read_text()


DEADLY = "unsigned sum_calls; int sum_main(int a, int b) { sum_calls++; __builtin_trap(); }"


def test_a_dead_guest_is_named_before_and_while_it_is_asked(booted: Boot, tmp_path: Path) -> None:
    machine = booted()
    memory = machine.memory()
    with Service(memory, machine.directory) as service:
        payload = bitcode(tmp_path, DEADLY, "-g0")
        why = (
            r"nothing can be recompiled: the guest took #UD invalid opcode at 0x.* has stopped for good; `bareflow exc"
        )
        with replaced(memory, service.find("sum"), payload), pytest.raises(BareflowError, match=why):
            service.request("sum", 2, SECONDS)
        with pytest.raises(BareflowError, match=why):
            service.request("primes", 3, SECONDS)


def test_a_machine_that_is_stopped_is_named_when_time_is_over(idle_machine: Machine, memory: Memory) -> None:
    with Service(memory, idle_machine.directory) as service:
        idle_machine.pause()
        try:
            with pytest.raises(
                BareflowError, match=r"did not look at the doorbell .* the machine is stopped \(paused\)"
            ):
                service.request("primes", 3, timeout=1.0)
        finally:
            idle_machine.resume()


def test_a_tier_that_takes_longer_than_one_waits_is_said_to(idle_machine: Machine, memory: Memory) -> None:
    with Service(memory, idle_machine.directory) as service:
        with stopped_worker(service):
            service.compilers.free = lambda *_, **__: None if service.compiler.busy else service.compiler  # type: ignore[method-assign,misc]
            with pytest.raises(BareflowError, match="its compilation takes longer than that; wait longer"):
                service.request("primes", 3, timeout=1.0)
        assert service.request("primes", 3, SECONDS).correct


def test_the_lines_of_a_flood_are_counted_and_not_all_printed() -> None:
    lines: list[str] = []
    pace = Pace(lines.append, lambda count: f"{count} left out")
    for number in range(10_000):
        pace(str(number))
    assert lines[:AT_ONCE] == [str(number) for number in range(AT_ONCE)]
    assert len(lines) < 2 * AT_ONCE
    pace._at -= 5
    pace("the last")
    assert lines[-2].endswith(" left out") and lines[-1] == "the last"
