"""The host's LLVM compiles what lies in guest memory, and the guest installs, calls and survives it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bitcode_in_guest import announce, replaced
from guest_code import MODULES, bitcode
from machines import SECONDS, Boot, unread, wait_for
from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn.x86_const import UC_X86_REG_EBX, UC_X86_REG_ESP

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.errors import BareflowError, ReadError, UsageError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import many, one
from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.code.symbol_index import read_index
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

FUNCTIONS = ("fibonacci", "sum", "compute", "primes")
USED_RAM = 8 << 20  # all that the kernel uses, and room after it
DRIVER, ARGUMENTS, RESULTS, STACK = 0x7E0000, 0x7E1000, 0x7F0000, 0x7FF000


@pytest.fixture(scope="module")
def memory(idle_machine: Machine) -> Memory:
    return idle_machine.memory()


@pytest.fixture
def service(idle_machine: Machine, memory: Memory) -> Iterator[Service]:
    with Service(memory, idle_machine.directory) as service:
        yield service


@pytest.fixture
def trusting(idle_machine: Machine, memory: Memory) -> Iterator[Service]:
    """Hands over what does something else than the published code, too."""
    with Service(memory, idle_machine.directory, verify=False) as service:
        yield service


def slot(service: Service, name: str) -> MailSlot:
    functions = service.functions()
    box = read_mailbox(service.memory, service.root, functions)
    return next(slot for slot in box.slots if slot.function == name)


def set_word(service: Service, name: str, field: str, value: int) -> None:
    at = slot(service, name).address + layouts.offset("bf_mail_slot", field)
    service.memory.write(at, value.to_bytes(4, "little"), field)


def shared(service: Service, name: str) -> dict[str, int]:
    function = service.find(name)
    symbols = many(service.memory, "bf_symbol", function.symbols, function.symbol_count, "symbols")
    return {clean(symbol.name): symbol.address for symbol in symbols}


def guest_runs_on(service: Service) -> bool:
    before = read_counters(service.memory, service.root).idle_loops
    wait_for(lambda: read_counters(service.memory, service.root).idle_loops > before, "the idle loop")
    return True


def run_on_host(ram: bytes, entry: int, inputs: list[tuple[int, int]]) -> list[int]:
    """What code in a copy of guest memory returns, called by a loop of our own."""
    machine = Uc(UC_ARCH_X86, UC_MODE_32)
    machine.mem_map(0, USED_RAM)
    machine.mem_write(0, ram)
    machine.mem_write(ARGUMENTS, b"".join(struct.pack("<ii", a, b) for a, b in inputs))
    # push [esi + 4]; push [esi]; mov eax, entry; call eax; add esp, 8; stosd; add esi, 8; dec ebx; jnz
    turn = b"\xff\x76\x04\xff\x36\xb8%b\xff\xd0\x83\xc4\x08\xab\x83\xc6\x08\x4b\x75\xea" % word(entry)
    # mov esi, arguments; mov edi, results; mov ebx, count
    code = b"\xbe%b\xbf%b\xbb%b" % (word(ARGUMENTS), word(RESULTS), word(len(inputs))) + turn
    machine.mem_write(DRIVER, code)
    machine.reg_write(UC_X86_REG_ESP, STACK)
    machine.emu_start(DRIVER, DRIVER + len(code), timeout=int(SECONDS * 1e6))
    assert machine.reg_read(UC_X86_REG_ESP) == STACK and not machine.reg_read(UC_X86_REG_EBX), "it did not return"
    return list(struct.unpack(f"<{len(inputs)}I", machine.mem_read(RESULTS, 4 * len(inputs))))


def word(value: int) -> bytes:
    return struct.pack("<I", value)


def whole_ram(memory: Memory) -> bytes:
    low, high = memory.read(0, 0xA0000, "RAM"), memory.read(0x100000, USED_RAM - 0x100000, "RAM")
    return low + bytes(0x60000) + high


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_level_is_installed_called_and_right(service: Service, idle_machine: Machine, name: str) -> None:
    numbers = []
    for level in range(4):
        outcome = service.request(name, level, SECONDS)
        assert (outcome.state, outcome.level, outcome.correct) == ("installed", level, True), outcome.message
        assert outcome.milliseconds.total is not None
        assert service.memory.read(outcome.code, 3, "code").hex() == "5589e5"
        said = f"[CALL] {name}: version {outcome.version} at O{level}: {outcome.result} (expected"
        wait_for_serial(idle_machine, said, SECONDS)
        numbers.append(outcome.version)
    assert numbers == sorted(numbers)
    assert service.find(name).name == name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recompiled_tiers_agree_with_the_module_on_1000_inputs(service: Service, name: str) -> None:
    chance = random.Random(name)
    limit = {"fibonacci": 60, "sum": 90, "compute": 14, "primes": 70}[name]
    inputs = [(chance.randrange(-2, limit), chance.randrange(-2, limit)) for _ in range(1000)]
    function = service.find(name)
    assert function.module is not None
    size = layouts.size("module_profile")
    profile = one(service.memory, "module_profile", service.root.module_manager + function.module * size, "module")
    expected = run_on_host(whole_ram(service.memory), profile.code_ptr, inputs)
    assert len(set(expected)) > 10, "the inputs decide the result"
    for level in range(4):
        outcome = service.request(name, level, SECONDS)
        entry = next(e for e in read_index(Path(outcome.symbol_file or "").parents[1]) if e.version == outcome.version)
        assert run_on_host(whole_ram(service.memory), entry.entry, inputs) == expected, f"O{level}"


def test_all_versions_count_in_the_same_shared_variable(service: Service) -> None:
    address = shared(service, "sum")["sum_calls"]
    (before,) = struct.unpack("<I", service.memory.read(address, 4, "sum_calls"))
    for level in (0, 3, 1, 2):
        assert service.request("sum", level, SECONDS).correct
    (after,) = struct.unpack("<I", service.memory.read(address, 4, "sum_calls"))
    assert after == before + 4


def test_read_only_data_is_installed_with_the_version(service: Service) -> None:
    outcome = service.request("compute", 3, SECONDS)
    assert outcome.rodata_size > 0
    assert struct.unpack("<2i", service.memory.read(outcome.rodata, 8, "rodata")) == (0, -1000)


def test_a_changed_constant_in_guest_memory_changes_the_result(
    trusting: Service, memory: Memory, tmp_path: Path
) -> None:
    source = (MODULES / "compute.c").read_text()
    assert source.count("#define MODULUS 1000") == 1
    payload = bitcode(tmp_path, source.replace("MODULUS 1000", "MODULUS 999"), "-g0")
    with replaced(memory, trusting.find("compute"), payload):
        outcome = trusting.request("compute", 3, SECONDS)
    assert outcome.installed
    assert outcome.result == sum(i * j % 999 for i in range(100) for j in range(100))
    assert outcome.correct is False
    assert trusting.request("compute", 3, SECONDS).correct


@pytest.mark.parametrize("kept", [1, 4, 1000, -4])
def test_truncated_bitcode_is_rejected_and_the_guest_runs_on(
    service: Service, memory: Memory, idle_machine: Machine, kept: int
) -> None:
    function = service.find("primes")
    code = one(memory, "bf_function", service.root.function_table + function.index * layouts.size("bf_function"), "f")
    whole = memory.read(function.bitcode, function.bitcode_size, "bitcode")[128:]
    with replaced(memory, function, whole[:kept]):
        outcome = service.request("primes", 3, SECONDS)
    assert (outcome.state, outcome.reason, outcome.version) == ("rejected", "bad_bitcode", None)
    assert "\n" not in outcome.message
    now = one(memory, "bf_function", service.root.function_table + function.index * layouts.size("bf_function"), "f")
    assert (now.version, now.level) == (code.version, code.level), "it keeps the code that it had"
    assert guest_runs_on(service)
    wait_for_serial(idle_machine, "[MAILBOX] primes: rejected", SECONDS)
    assert service.request("primes", 3, SECONDS).correct


def test_a_header_that_promises_more_than_there_is_is_rejected(service: Service, memory: Memory) -> None:
    function = service.find("fibonacci")
    original = memory.read(function.bitcode, 128, "header")
    for size in (0, function.bitcode_size, 0xFFFFFFFF):
        announce(memory, function, size)
        outcome = service.request("fibonacci", 3, SECONDS)
        assert (outcome.state, outcome.reason) == ("rejected", "bad_bitcode")
        assert "promises" in outcome.message
    memory.write(function.bitcode, original, "header")
    assert service.request("fibonacci", 3, SECONDS).correct


def test_a_worker_killed_while_it_compiles_is_a_rejection(service: Service) -> None:
    assert service.request("sum", 3, SECONDS).correct
    pid = service.compiler.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def kill_once_it_is_asked() -> None:
        wait_for(lambda: unread(pid), "the question to the worker")
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_once_it_is_asked)
    killer.start()
    outcome = service.request("sum", 3, SECONDS)
    killer.join()
    assert (outcome.state, outcome.reason) == ("rejected", "compiler_died")
    assert guest_runs_on(service)
    assert service.request("sum", 3, SECONDS).correct
    assert service.compiler.pid != pid


HOST_THAT_HANGS = """
import os, signal, sys
from pathlib import Path
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service
machine = Machine.load(Path(sys.argv[1]))
service = Service(machine.memory(), machine.directory)
service.compiler.wait_ready()
os.kill(service.compiler.pid, signal.SIGSTOP)
print(service.compiler.pid, flush=True)
service.request("primes", 2)
"""


def test_a_second_host_finishes_what_a_dead_one_was_compiling(idle_machine: Machine, memory: Memory) -> None:
    words = [sys.executable, "-c", HOST_THAT_HANGS, str(idle_machine.directory)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        with Service(memory, idle_machine.directory) as watcher:
            assert not watcher.serving, "one host serves at a time"
            wait_for(lambda: slot(watcher, "primes").state == "compiling", "the first host to begin")
        host.kill()
    os.kill(worker, signal.SIGKILL)
    with Service(memory, idle_machine.directory) as second:
        assert second.serving
        deadline = time.monotonic() + SECONDS
        outcomes = second.serve(lambda: time.monotonic() > deadline)
        outcome = next(outcomes)
    assert (outcome.function, outcome.level, outcome.state, outcome.correct) == ("primes", 2, "installed", True)


def test_a_host_that_does_not_serve_is_answered_by_the_one_that_does(
    service: Service, idle_machine: Machine, memory: Memory
) -> None:
    stop = threading.Event()
    server = threading.Thread(target=lambda: list(service.serve(stop.is_set)))
    server.start()
    try:
        with Service(memory, idle_machine.directory) as asker:
            outcome = asker.request("fibonacci", 1, SECONDS)
    finally:
        stop.set()
        server.join()
    assert (outcome.state, outcome.level, outcome.correct) == ("installed", 1, True)


def test_a_host_that_ends_hands_over_to_the_one_that_waits(
    service: Service, idle_machine: Machine, memory: Memory
) -> None:
    with Service(memory, idle_machine.directory) as asker:
        assert not asker.serving
        threading.Timer(0.3, service.close).start()
        assert asker.request("sum", 2, SECONDS).correct
        assert asker.serving


def serving(machine: Machine, said: Path) -> subprocess.Popen[bytes]:
    """`bareflow serve`, once it serves; what it says goes to this file."""
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", machine.name]
    with said.open("w") as file:
        server = subprocess.Popen(words, stdout=file, stderr=file)
    wait_for(lambda: "Ctrl-C ends it" in said.read_text(), "the server")
    return server


def test_serve_answers_others_until_it_is_interrupted(idle_machine: Machine, tmp_path: Path) -> None:
    server = serving(idle_machine, tmp_path / "said")
    said_so_far = (tmp_path / "said").read_text
    assert bareflow(["serve", idle_machine.name]) == 2, "one at a time"
    assert bareflow(["recompile", "primes", "--level", "2", idle_machine.name]) == 0
    wait_for(lambda: "primes@O2 #" in said_so_far(), "the server's line")
    server.send_signal(signal.SIGINT)
    assert server.wait(SECONDS) == 0
    assert said_so_far().endswith("\n1 request answered\n")


def test_serve_ends_with_its_machine(booted: Boot, tmp_path: Path) -> None:
    machine = booted()
    server = serving(machine, tmp_path / "said")
    machine.stop()
    assert server.wait(SECONDS) == 0
    assert "has ended" in (tmp_path / "said").read_text()


BIG = """
#include <stdint.h>
uint32_t sum_calls;
int32_t sum_main(int32_t a, int32_t b) {
    volatile uint32_t total = 0;
    sum_calls++;
#pragma clang loop unroll(full)
    for (uint32_t i = 0; i < TURNS; i++)
        total += (uint32_t)a * i ^ (uint32_t)b;
    return (int32_t)total;
}
"""


def test_code_larger_than_the_first_room_gets_more_and_is_compiled_once(
    trusting: Service, memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = bitcode(tmp_path, BIG.replace("TURNS", "900"), "-g0")
    compiled, taken, really = [], [], trusting.compiler.begin

    def begin_and_count(payload: bytes, entry: str, *others: Any) -> None:
        compiled.append(entry)
        really(payload, entry, *others)

    monkeypatch.setattr(trusting.compiler, "begin", begin_and_count)
    monkeypatch.setattr(trusting, "progress", taken.append)
    with replaced(memory, trusting.find("sum"), payload):
        outcome = trusting.request("sum", 3, SECONDS)
    assert (len(taken), compiled) == (2, ["sum_main"]), "the guest asked twice"
    assert outcome.installed, outcome.message
    assert outcome.code_size > 8192
    assert outcome.result == sum(1 * i ^ 100 for i in range(900))


def test_code_larger_than_the_mailbox_is_rejected_with_its_size(
    trusting: Service, memory: Memory, tmp_path: Path
) -> None:
    payload = bitcode(tmp_path, BIG.replace("TURNS", "3200"), "-g0")
    with replaced(memory, trusting.find("sum"), payload):
        outcome = trusting.request("sum", 3, SECONDS)
    assert (outcome.state, outcome.reason) == ("rejected", "link_failed")
    assert "more than the mailbox carries" in outcome.message
    assert guest_runs_on(trusting)


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("int n; int sum_main(int a, int b) { return n += a + b; }", "link_failed", "n is not among"),
        ("int g(int); int sum_main(int a, int b) { return g(a); }", "link_failed", "undefined symbol g"),
        ("static int n; int sum_main(int a, int b) { return n += a; }", "bad_bitcode", "n is static"),
        ("int other(int a, int b) { return a + b; }", "bad_bitcode", "no function sum_main"),
    ],
)
def test_bitcode_that_cannot_become_a_version_is_rejected(  # type: ignore[no-untyped-def]
    service: Service, memory: Memory, tmp_path: Path, source: str, reason: str, words: str
) -> None:
    with replaced(memory, service.find("sum"), bitcode(tmp_path, source, "-g0")):
        outcome = service.request("sum", 3, SECONDS)
    assert (outcome.state, outcome.reason) == ("rejected", reason)
    assert words in outcome.message


def test_impossible_addresses_in_the_guests_tables_are_a_rejection(service: Service, memory: Memory) -> None:
    function = service.find("primes")
    record = service.root.function_table + function.index * layouts.size("bf_function")
    for field, value in (("bitcode", 0xFFFF0000), ("bitcode", 0xA0000), ("bitcode_size", 0xFFFFFFFF)):
        at = record + layouts.offset("bf_function", field)
        original = memory.read(at, 4, field)
        memory.write(at, value.to_bytes(4, "little"), field)
        try:
            outcome = service.request("primes", 3, SECONDS)
        finally:
            memory.write(at, original, field)
        assert outcome.state == "rejected"
        assert outcome.reason in ("bad_bounds", "bad_bitcode")
    assert guest_runs_on(service)
    assert service.request("primes", 3, SECONDS).correct


def test_a_vetoed_function_is_not_recompiled(service: Service) -> None:
    set_word(service, "compute", "control", layouts.const("BF_CONTROL_VETO"))
    try:
        outcome = service.request("compute", 3, SECONDS)
    finally:
        set_word(service, "compute", "control", layouts.const("BF_CONTROL_ALLOW"))
    assert (outcome.state, outcome.reason) == ("rejected", "vetoed")
    assert outcome.message.endswith("(vetoed); `bareflow swap allow` ends that")
    assert service.request("compute", 3, SECONDS).correct


def test_a_guest_that_stands_still_is_reported_and_not_asked_behind_its_back(
    service: Service, idle_machine: Machine
) -> None:
    before = slot(service, "primes").request
    idle_machine.pause()
    try:
        with pytest.raises(BareflowError, match="did not look at the doorbell"):
            service.request("primes", 3, timeout=1.0)
    finally:
        idle_machine.resume()
    assert guest_runs_on(service)
    assert slot(service, "primes").request == before


def test_the_symbols_of_each_version_are_listed_with_their_addresses(service: Service, idle_machine: Machine) -> None:
    outcome = service.request("compute", 2, SECONDS)
    entry = next(e for e in read_index(idle_machine.directory) if e.version == outcome.version)
    assert (entry.function, entry.level, entry.text) == ("compute", 2, outcome.code)
    assert entry.sections[".text"] == outcome.code
    assert outcome.rodata in entry.sections.values()
    assert (idle_machine.directory / "jit" / entry.path).read_bytes()[:4] == b"\x7fELF"


def test_a_held_guest_installs_and_does_not_call(booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    with Service(machine.memory(), machine.directory) as service:
        outcome = service.request("fibonacci", 3, SECONDS)
    assert outcome.installed
    assert (outcome.result, outcome.correct) == (None, None)


GATE = 0x700000
SLOW = f"""
unsigned sum_calls;
int sum_main(int a, int b) {{
    sum_calls++;
    while (*(volatile unsigned *){GATE} == 0)
        ;
    return a + b;
}}
"""


def test_a_result_is_not_told_before_the_first_call_has_returned(
    trusting: Service, memory: Memory, tmp_path: Path
) -> None:
    memory.write(GATE, bytes(4), "gate")
    try:
        with replaced(memory, trusting.find("sum"), bitcode(tmp_path, SLOW, "-g0")):
            outcome = trusting.request("sum", 3, SECONDS)
    finally:
        memory.write(GATE, b"open", "gate")
    assert outcome.installed
    assert outcome.milliseconds.first_execution is not None
    assert (outcome.result, outcome.correct) == (None, None)
    assert trusting.request("sum", 3, SECONDS).correct


def test_a_guest_in_the_middle_of_its_run_is_served(booted: Boot) -> None:
    # The run goes on for hours, so that the function is called again whenever the new code is there.
    hours = 4_000_000_000
    machine = booted(stage="running", run_calls=hours, thresholds=(10, 20, hours))
    with Service(machine.memory(), machine.directory) as service:
        outcome = service.request("fibonacci", 1, SECONDS)
        assert outcome.installed
        assert outcome.correct


def test_who_asks_is_not_told_of_what_the_guest_had_asked_for_itself(
    firmware: Path, booted: Boot, tmp_path: Path
) -> None:
    # The guest asks for O1 in its run, nobody answers, and its next threshold waits for the slot.
    disk = Path(shutil.copy(firmware / "fat16.img", tmp_path / "fat16.img"))
    subprocess.run(["mdel", "-i", str(disk), "::COMPUTE.O1", "::COMPUTE.O2", "::COMPUTE.O3"], check=True)
    machine = booted(disk=disk)
    with Service(machine.memory(), machine.directory) as service:
        assert slot(service, "compute").state == "requested"
        outcome = service.request("compute", 0, SECONDS)
        assert (outcome.state, outcome.level, outcome.correct) == ("installed", 0, True)
        assert outcome.version == slot(service, "compute").done_version


def test_a_machine_that_ends_in_the_middle_is_one_sentence(booted: Boot) -> None:
    machine = booted()
    with Service(machine.memory(), machine.directory) as service:
        service.compiler.wait_ready()
        machine.pause()
        end = threading.Timer(0.5, machine.stop)
        end.start()
        with pytest.raises(ReadError, match="QEMU is gone"):
            service.request("fibonacci", 3, SECONDS)
        end.join()


def test_an_unknown_function_or_level_is_refused_before_anything_is_asked(service: Service) -> None:
    with pytest.raises(UsageError, match="fibonacci, sum, compute, primes"):
        service.request("nothing", 3)
    with pytest.raises(UsageError, match="levels are 0 to 3"):
        service.request("sum", 4)


def test_the_command_prints_the_same_as_json(idle_machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(idle_machine.name)
    assert bareflow(["recompile", "primes", "--level", "1", "--json", target]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["state"], answer["level"], answer["result"], answer["expected"]) == ("installed", 1, 168, 168)
    assert bareflow(["recompile", "primes", target]) == 0
    assert "primes@O3 #" in capsys.readouterr().out


def test_the_command_says_no_with_one_sentence(
    idle_machine: Machine, memory: Memory, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.close()
    with replaced(memory, service.find("primes"), b"BC\xc0\xde garbage"):
        assert bareflow(["recompile", "primes", idle_machine.name]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert bareflow(["recompile", "nothing", idle_machine.name]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
