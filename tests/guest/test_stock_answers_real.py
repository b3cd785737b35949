"""Real stock kernels answer like their own debug information, their own serial log, and from every source alike."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asking import ask
from machines import SECONDS, wait_for, wait_for_halt
from program import bareflow
from stock_truth import truth

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.names.elf import beside, check_elf, load_elf
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.render.jsonable import dumps_answer

QUESTIONS = ("status", "modules", "pools", "profile", "jit", "swaps")
GDBS = {"gdb-debian": Path("/usr/bin/gdb"), "gdb-environment": Path(sys.executable).parent / "gdb"}
SCRIPT = Path(__file__).parents[2] / "gdb_scripts" / "bareflow.py"
ENDS = {"stock_unikernel": "System halted."}
KERNEL_END = "--- END JSON ---"

Booted = Callable[[str], Machine]


@pytest.fixture(scope="module")
def booted(firmware: Path) -> Iterator[Booted]:
    """Machines of the stock images by name, each booted once and at the end of its run."""
    machines: dict[str, Machine] = {}

    def boot(name: str) -> Machine:
        if name not in machines:
            machines[name] = launch(firmware / "stock" / f"{name}.img", name=name.replace("_", "-"))
            wait_for_serial(machines[name], ENDS.get(name, KERNEL_END), SECONDS)
            wait_for_halt(machines[name])
        return machines[name]

    yield boot
    for machine in machines.values():
        machine.stop()


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def gdb_run(gdb: Path, machine: Machine, *words: str) -> str:
    """What gdb prints with the suite loaded, connected to the machine."""
    command = [str(gdb), "-nx", "-batch", "-x", str(SCRIPT), "-ex", f"target remote {machine.gdb_socket}", *words]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return done.stdout + done.stderr


def pool_stats(guest: Guest) -> list[list[int]]:
    return [[p.base, p.size, p.used, p.free, p.allocations, p.peak] for p in guest.kernel().pools().pools]


def exported(machine: Machine) -> list[dict[str, Any]]:
    """The modules of the kernel's own JSON on COM1."""
    text = machine.serial().replace("\r", "")
    found = re.search(r"--- BEGIN JSON ---\n(.*)\n--- END JSON ---", text, re.DOTALL)
    assert found is not None
    return list(json.loads(found[1])["modules"])


def as_exported(modules: Modules) -> list[dict[str, Any]]:
    return [
        {
            "name": module.name,
            "calls": module.calls,
            "total_cycles": module.total_cycles,
            "min_cycles": module.min_cycles or 0,
            "max_cycles": module.max_cycles,
            "code_address": f"0x{module.code:08x}",
            "code_size": module.code_size,
            "loaded": module.loaded,
        }
        for module in modules.modules
    ]


def test_the_kernel_answers_like_the_debug_information_of_its_twin(
    booted: Booted, firmware: Path, tmp_path: Path
) -> None:
    machine = booted("stock")
    told = truth(firmware, "stock", machine, tmp_path)
    guest = Guest.attach(machine.memory())
    answer = ask(guest, "modules")
    modules = answer.record
    assert [
        [m.name, m.code, m.code_size, m.calls, m.total_cycles, m.max_cycles, int(m.loaded)] for m in modules.modules
    ] == told["modules"]
    assert [finding.address for finding in answer.found] == [told["manager"]]
    answer = ask(guest, "jit")
    jit = answer.record
    assert [[f.name, f.level, *f.level_codes, f.current_code, f.slot] for f in jit.functions] == told["functions"]
    (finding,) = answer.found
    assert (finding.address, finding.how, finding.confidence) == (told["jit"], "search of the stack", "certain")
    profile = sorted(guest.kernel().profile().functions, key=lambda function: function.id)
    assert [[f.name, f.address, f.calls, f.total_cycles, f.max_cycles, f.level, int(f.hot)] for f in profile] == told[
        "profile"
    ]
    assert pool_stats(guest) == told["stats"]
    assert ask(guest, "pools").found[0].address == told["pools"]
    assert not guest.kernel().pools().all_problems() and not jit.problems
    levels = [(function[0], level) for function in told["functions"] for level in range(1, function[1] + 1)]
    assert [(swap.function, swap.to_level) for swap in guest.kernel().swaps().swaps] == levels


def test_the_unikernel_answers_like_the_debug_information_of_its_twin(
    booted: Booted, firmware: Path, tmp_path: Path
) -> None:
    machine = booted("stock_unikernel")
    told = truth(firmware, "stock_unikernel", machine, tmp_path)
    guest = Guest.attach(machine.memory())
    answer = ask(guest, "profile")
    profile = sorted(answer.record.functions, key=lambda function: function.id)
    assert [[f.name, f.calls, f.total_cycles, f.min_cycles, f.max_cycles] for f in profile] == told["entries"]
    assert [(f.address, f.confidence) for f in answer.found] == [(told["address"], "certain")]
    assert pool_stats(guest) == told["stats"]
    assert guest.kernel().status().variant == "stock unikernel"
    with pytest.raises(BadData, match="unikernel"):
        guest.kernel().modules()


@pytest.mark.parametrize("kernel", ["stock", "stock76", "stock72"])
def test_modules_of_every_generation_are_those_that_the_kernel_exports(booted: Booted, kernel: str) -> None:
    machine = booted(kernel)
    guest = Guest.attach(machine.memory())
    assert as_exported(guest.kernel().modules()) == exported(machine)
    assert guest.places.generation().profile_bytes == int(kernel.removeprefix("stock") or 84)


@pytest.mark.parametrize(("kernel", "header"), [("stock", 120), ("stock76", 124), ("stock72", 128)])
def test_bitcode_is_found_with_headers_of_every_generation(
    booted: Booted, firmware: Path, kernel: str, header: int
) -> None:
    guest = Guest.attach(booted(kernel).memory())
    (bitcode,) = guest.kernel().bitcode()
    assert (bitcode.function, bitcode.header_size, bitcode.problems) == ("primes", header, ())
    wrapped = (firmware / "modules" / "primes.bc.wrapped").read_bytes()
    payload = guest.memory.read(bitcode.payload, bitcode.payload_size, "payload")
    assert payload == wrapped[128 : 128 + bitcode.payload_size]


def test_the_file_systems_state_is_found_and_agrees_with_the_disk(firmware: Path) -> None:
    stock = firmware / "stock"
    machine = launch(stock / "stock.img", disk=stock / "stock_disk.img")
    try:
        wait_for_serial(machine, KERNEL_END, SECONDS)
        guest = Guest.attach(machine.memory())
        answer = ask(guest, "fat")
        disk = answer.record
        assert disk.mounted is not None
        assert disk.volume is not None
        assert disk.mounted.total == disk.volume.sectors
        assert disk.problems == ()
        assert answer.found[-1].confidence == "certain"
        assert as_exported(guest.kernel().modules()) == exported(machine)
    finally:
        machine.stop()


def test_a_core_a_dump_and_the_gdbstub_answer_like_ram(booted: Booted, tmp_path: Path) -> None:
    machine = booted("stock")
    guest = Guest.attach(machine.memory())
    answers = {question: dumps_answer(ask(guest, question)) for question in QUESTIONS}
    core, dump = tmp_path / "core", tmp_path / "dump"
    machine.dump_core(core)
    dump.write_bytes(machine.read_physical(0, 2 << 20))
    with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
        for memory in (ElfCore(core), RawDump(dump), stub):
            other = Guest.attach(memory)
            for question in QUESTIONS:
                told = dumps_answer(ask(other, question))
                if memory.name == "raw dump" and question == "status":
                    unknown = '",\n    "whether it has halted: there are no registers to tell"'
                    assert unknown in told
                    told = told.replace(unknown, '"').replace('"halted": null', '"halted": true')
                assert told == answers[question], (memory.name, question)


def test_over_the_gdbstub_questions_after_the_search_keep_the_budget(booted: Booted) -> None:
    machine = booted("stock")
    with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
        guest = Guest.attach(stub)
        for question in QUESTIONS:
            blocks = sum(len(pool.blocks) for pool in guest.kernel().pools().pools)
            stub.invalidate()
            before = stub.packets
            ask(guest, question)
            spent = stub.packets - before
            assert spent <= (10 + blocks if question == "pools" else 10), (question, spent)


@dataclass(frozen=True)
class Seen:
    """What a question was answered with at one moment of the boot."""

    address: int
    names: tuple[str, ...]


def look(guest: Guest, question: str) -> Seen | None:
    try:
        answer = ask(guest, question)
        record = answer.record
    except BadData as error:
        assert str(error)
        return None
    if question == "pools":
        names = [pool.kind for pool in record.pools]
    elif question == "modules":
        names = [module.name for module in record.modules]
    else:
        key = "id" if question == "profile" else "index"
        names = [one.name for one in sorted(record.functions, key=lambda one: int(getattr(one, key)))]
    return Seen(answer.found[0].address, tuple(names))


@pytest.mark.parametrize("kernel", ["stock", "stock_unikernel"])
def test_while_the_kernel_boots_an_answer_is_right_or_not_there_yet(firmware: Path, kernel: str) -> None:
    machine = launch(firmware / "stock" / f"{kernel}.img", paused=True)
    try:
        guest = Guest.attach(machine.memory())
        seen: dict[str, list[Seen]] = {"modules": [], "jit": [], "profile": [], "pools": []}
        absent = sum(look(guest, question) is None for question in seen)
        machine.resume()
        deadline = time.monotonic() + SECONDS
        while ENDS.get(kernel, KERNEL_END) not in machine.serial():
            assert time.monotonic() < deadline
            for question, answers in seen.items():
                answer = look(guest, question)
                if answer is None:
                    absent += 1
                else:
                    answers.append(answer)
        assert absent > 0
        for question, answers in seen.items():
            final = look(guest, question)
            for answer in answers:
                assert final is not None
                assert answer.address == final.address
                assert answer.names == final.names[: len(answer.names)]
    finally:
        machine.stop()


def test_after_a_reset_nothing_of_the_earlier_run_is_told(firmware: Path, tmp_path: Path) -> None:
    machine = launch(firmware / "stock" / "stock.img")
    try:
        wait_for_serial(machine, KERNEL_END, SECONDS)
        guest = Guest.attach(machine.memory())
        assert guest.kernel().jit().count > 0
        machine.pause()
        machine.qmp("system_reset")
        # QEMU answers before it has done so.
        wait_for(lambda: "EIP=0000fff0" in machine.monitor("info registers"), "the reset")
        core = tmp_path / "core"
        machine.dump_core(core)
        for source in (guest, Guest.attach(ElfCore(core))):
            for question in ("modules", "jit", "pools", "profile", "swaps"):
                with pytest.raises(BadData, match="real mode"):
                    ask(source, question)
    finally:
        machine.stop()


def test_two_kernels_side_by_side_keep_their_answers_apart(booted: Booted) -> None:
    one, other = Guest.attach(booted("stock").memory()), Guest.attach(booted("stock_unikernel").memory())
    for _ in range(2):
        assert one.kernel().status().variant == "stock kernel"
        assert other.kernel().status().variant == "stock unikernel"
        assert [f.name for f in one.kernel().jit().functions] != [f.name for f in other.kernel().profile().functions]


def test_elf_files_are_told_apart_by_their_code(booted: Booted, firmware: Path) -> None:
    memory = booted("stock").memory()
    stock = firmware / "stock"
    for name in ("stock.elf", "stock_stripped.elf", "stock_twin.elf"):
        assert check_elf(memory, load_elf(stock / name)).same, name
    for path in (stock / "stock_unikernel.elf", stock / "stock72.elf", firmware / "kernel.elf"):
        check = check_elf(memory, load_elf(path))
        assert not check.same
        assert path.name in check.verdict


def test_the_command_line_uses_the_right_elf_and_names_the_wrong_one(booted: Booted, firmware: Path) -> None:
    name, stock = booted("stock").name, firmware / "stock"
    right = bareflow("pools", name, "--json", "--elf", str(stock / "stock.elf"))
    assert json.loads(right.stdout)["found"][0]["how"] == "symbol", right.stderr
    wrong = bareflow("pools", name, "--json", "--elf", str(stock / "stock_unikernel.elf"))
    assert json.loads(wrong.stdout)["found"][0]["how"] == "search of the kernel's data"
    assert "stock_unikernel.elf is another kernel's" in wrong.stderr
    shown = bareflow("modules", name)
    assert shown.returncode == 0
    assert "by search of the stack, certain" in shown.stderr


def test_the_command_line_adds_what_the_serial_log_tells(booted: Booted) -> None:
    record = json.loads(bareflow("swaps", booted("stock").name, "--json").stdout)
    assert [swap["call"] for swap in record["swaps"]][:3] == [100, 1000, 10000]
    # It names the calls of the first function only.
    assert any("where no serial log tells them: the default" in text for text in record["unknown"])


@pytest.fixture(scope="module")
def told(booted: Booted) -> dict[str, Any]:
    """What the suite's library answers, with the serial log and the ELF beside the image, as JSON."""
    machine = booted("stock")
    guest = Guest.attach(machine.memory(), elves=lambda: beside(machine.image))
    guest.serial_log = machine.serial
    return {question: json.loads(dumps_answer(ask(guest, question))) for question in QUESTIONS}


@pytest.mark.parametrize("gdb", GDBS.values(), ids=GDBS)
def test_gdb_answers_alike_and_compares_its_elf(
    booted: Booted, firmware: Path, told: dict[str, Any], gdb: Path
) -> None:
    machine, stock = booted("stock"), firmware / "stock"
    words = [word for question in QUESTIONS for word in ("-ex", f"bf {question} --json")]
    decoder = json.JSONDecoder()
    text = gdb_run(gdb, machine, *words)
    for question in QUESTIONS:
        text = text[text.index("{\n") :]
        record, end = decoder.raw_decode(text)
        text = text[end:]
        assert record == told[question], question
    said = gdb_run(gdb, machine, "-ex", f"file {stock / 'stock_unikernel.elf'}", "-ex", "bf modules")
    assert "stock_unikernel.elf is another kernel's" in said
    assert "by search of the stack, certain" in said
    symbols = gdb_run(gdb, machine, "-ex", f"file {stock / 'stock.elf'}", "-ex", "bf pools")
    assert "by symbol, certain" in symbols
    assert "another kernel's" not in symbols
