"""The kernel library's demo answers what the kernel answers, as far as it has it: live, from a core, from a trace."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import SECONDS
from program import bareflow

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, read_image_header
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
NONE = "this kernel has no {}: it is an application on the kernel library; `jit` shows its functions"


@pytest.fixture(scope="module")
def machine(firmware: Path) -> Iterator[Machine]:
    """The demo, done and halted; nobody gives its ELF."""
    machine = launch(firmware / "tinyllama.img")
    wait_for_stage(machine, "halted", SECONDS)
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def recorded(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of all of its run."""
    trace = tmp_path_factory.mktemp("traces") / "tinyllama"
    machine = launch(firmware / "tinyllama.img", settings=RootSettings(hold=1))
    try:
        wait_for_stage(machine, "registered", SECONDS)
        done = bareflow("trace", "record", machine.name, "--out", str(trace), "--release", "--until-idle")
        assert done.returncode == 0, done.stderr
    finally:
        machine.stop()
    return trace


@pytest.fixture(scope="module")
def core(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cores") / "tinyllama.core"
    assert bareflow("core", "--out", str(path), machine.name).returncode == 0
    return path


@pytest.fixture(params=["machine", "core", "recorded"])
def target(request: pytest.FixtureRequest) -> str:
    found = request.getfixturevalue(request.param)
    return found.name if isinstance(found, Machine) else str(found)


Ask = Callable[..., Any]


@pytest.fixture
def ask(target: str) -> Ask:
    """A question to the target; its JSON, when the answer is "fine"."""

    def asked(question: str, *words: str) -> Any:
        done = bareflow(question, "--json", *words, target)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return asked


def test_its_functions_are_the_adaptive_jits(ask: Ask) -> None:
    record = ask("jit")
    told = [(one["name"], one["level"], one["version"], one["calls"], one["agrees"]) for one in record["functions"]]
    assert told == [("fibonacci", 0, 1, 10, True), ("sum_to_n", 1, 4, 200, True), ("count_primes", 2, 5, 10, True)]
    assert record["asks"] == "application"
    assert {one["next_threshold"] for one in record["functions"]} == {None}
    profile = {one["name"]: (one["calls"], one["level"]) for one in ask("profile")["functions"]}
    assert profile == {"fibonacci": (10, 0), "sum_to_n": (200, 1), "count_primes": (10, 2)}


def test_its_level_changes_are_swaps_that_took_effect(ask: Ask) -> None:
    record = ask("swaps")
    told = [(one["function"], one["from_level"], one["to_level"], one["reason"]) for one in record["swaps"]]
    assert told == [("sum_to_n", 0, 1, "application"), ("count_primes", 0, 2, "application")]
    assert all(one["publish_to_first_us"] > 0 for one in record["swaps"])


def test_its_code_is_in_the_pools_and_can_be_disassembled(ask: Ask) -> None:
    code = next(pool for pool in ask("pools")["pools"] if pool["kind"] == "code")
    owners = [block["owner_name"] for block in code["blocks"] if block["state"] == "used"]
    assert owners == ["fibonacci@O0 #1", "sum_to_n@O0 #2", "count_primes@O0 #3", "sum_to_n@O1 #4", "count_primes@O2 #5"]
    for name in ("fibonacci@O0", "sum_to_n@O0", "sum_to_n@O1", "count_primes@O2"):
        assert ask("disas", name)["lines"][0]["text"] == "push ebp"


def test_an_address_in_its_code_has_its_version(ask: Ask) -> None:
    swap = ask("swaps")["swaps"][0]
    found = ask("identify", swap["new_code"])
    assert (found["region"], found["name"]) == ("code pool", "sum_to_n@O1 #4")


def test_it_is_done_and_halted_and_nothing_is_wrong(ask: Ask) -> None:
    boot = ask("boot")
    assert (boot["stage"], boot["ok"], boot["done"], boot["problems"]) == ("halted", True, True, [])
    assert [stage["reached"] for stage in boot["stages"][11:]] == [True] * 4
    status = ask("status")
    assert (status["stage"], status["problems"], status["findings"]) == ("halted", [], status["findings"])
    assert not [finding for finding in status["findings"] if finding["severity"] != "note"]


@pytest.mark.parametrize("part", ["modules", "cache"])
def test_what_it_never_had_is_said_so(target: str, part: str) -> None:
    done = bareflow(part, target)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == f"bareflow {part}: {NONE.format(part)}"


def test_it_is_asked_for_no_module(machine: Machine) -> None:
    done = bareflow("module", "unload", "sum_to_n", machine.name)
    assert done.returncode == 2 and NONE.format("modules") in done.stderr


def test_what_was_not_made_is_another_answer(target: str) -> None:
    done = bareflow("disas", "sum_to_n@O3", target)
    assert done.returncode == 2
    assert "sum_to_n@O3 is not in memory; of sum_to_n there are: sum_to_n@O0 #2, sum_to_n@O1 #4" in done.stderr


def test_doctor_and_every_check_can_look_and_find_nothing(machine: Machine) -> None:
    doctor = bareflow("doctor", "--json", machine.name)
    parts = {one["part"]: one["state"] for one in json.loads(doctor.stdout)["checks"]}
    assert not [part for part, state in parts.items() if state == "fails"]
    assert all(parts[part] == "works" for part in ("boot record", "pools", "jit", "mailbox", "profile", "findings"))
    checks = bareflow("checks", machine.name)
    assert checks.returncode == 0
    assert "could not look" not in checks.stdout


def test_before_it_registers_nothing_is_there_yet_and_that_is_no_problem(firmware: Path) -> None:
    machine = launch(firmware / "tinyllama.img", settings=RootSettings(hold=1))
    try:
        wait_for_stage(machine, "registered", SECONDS)
        status = json.loads(bareflow("status", "--json", machine.name).stdout)
        assert (status["held"], status["problems"], status["swap_count"]) == (True, [], 0)
        assert [(one["name"], one["level"], one["last_result"]) for one in status["functions"]] == [
            ("fibonacci", 0, None),
            ("sum_to_n", 0, None),
            ("count_primes", 0, None),
        ]
        assert "no swap yet" in bareflow("swaps", machine.name).stdout
        assert not json.loads(bareflow("boot", "--json", machine.name).stdout)["done"]
    finally:
        machine.stop()


def test_names_come_from_the_elf_with_its_build_id_whatever_it_is_called(
    machine: Machine, core: Path, firmware: Path, tmp_path: Path
) -> None:
    registers = json.loads(bareflow("cpu", "--json", machine.name).stdout)
    eip = registers["registers"]["eip"]
    assert json.loads(bareflow("identify", "--json", eip, machine.name).stdout)["name"].startswith("cpu_halt")
    assert json.loads(bareflow("identify", "--json", eip, str(core)).stdout)["name"].startswith("cpu_halt")
    # The kernel's ELF by the name that would be taken, its own by any other.
    image = Path(shutil.copy(firmware / "tinyllama.img", tmp_path / "demo.img"))
    shutil.copy(firmware / "kernel.elf", tmp_path / "demo.elf")
    shutil.copy(firmware / "kernel.elf", tmp_path / "kernel.elf")
    other = launch(image)
    try:
        wait_for_stage(other, "halted", SECONDS)
        assert not json.loads(bareflow("identify", "--json", eip, other.name).stdout)["name"].startswith("cpu_halt")
        shutil.copy(firmware / "tinyllama_bare.elf", tmp_path / "zzz.elf")
        assert json.loads(bareflow("identify", "--json", eip, other.name).stdout)["name"].startswith("cpu_halt")
    finally:
        other.stop()


def test_events_name_its_functions_and_say_nothing_of_modules(target: str) -> None:
    done = bareflow("events", "--type", "publish", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"function=(\w+) .* reason=(\w+) +level=(\d)", done.stdout) == [
        ("sum_to_n", "application", "1"),
        ("count_primes", "application", "2"),
    ]


def test_a_trace_holds_its_versions_and_their_code(recorded: Path) -> None:
    shown = bareflow("trace", "show", str(recorded)).stdout
    assert re.search(r"functions +fibonacci, sum_to_n, count_primes", shown)
    assert re.search(r"swaps +2$", shown, re.MULTILINE)
    assert re.search(r"code +5 of 5 versions", shown)
    assert re.search(r"ended: halted", shown)


def test_its_report_is_green_and_tells_its_swaps(recorded: Path, tmp_path: Path) -> None:
    text = tmp_path / "report.txt"
    done = bareflow("report", str(recorded), "--out", str(tmp_path / "report.html"), "--text", str(text))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"sum_to_n +O0 -> O1 .* application ", text.read_text())
    assert "log and ring agree on 2 swaps" in text.read_text()


def test_who_asks_it_to_compile_when_it_is_done_is_told_so(machine: Machine) -> None:
    done = bareflow("recompile", "sum_to_n", machine.name)
    assert done.returncode == 2
    assert "its application is done, and the guest has halted" in done.stderr


def test_while_it_boots_what_is_not_there_yet_is_no_problem(firmware: Path) -> None:
    machine = launch(firmware / "tinyllama.img", paused=True)
    try:
        # The image as the loader puts it into memory, before its first instruction.
        header = read_image_header(firmware / "tinyllama.img")
        image = (firmware / "tinyllama.img").read_bytes()[9 * SECTOR :][: header.image_bytes]
        memory = machine.memory()
        memory.write(layouts.const("BF_IMAGE_BASE"), image, "image")
        record = layouts.pack(
            "bf_boot_record",
            magic=layouts.const("BF_BOOT_MAGIC"),
            stage=layouts.const("BF_STAGE_PROTECTED"),
            signature=layouts.const("BF_FLUD_MAGIC"),
        )
        memory.write(layouts.const("BF_BOOT_RECORD_ADDRESS"), record, "boot record")
        jit = bareflow("jit", machine.name)
        assert jit.returncode == 0
        assert "problem" not in jit.stdout
        assert "(not known: no mailbox is there (yet): the JIT is not up)" in jit.stderr
        none = bareflow("modules", machine.name)
        assert "this kernel has no modules" in none.stderr
    finally:
        machine.stop()
