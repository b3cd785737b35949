"""The kernel library's demo in gdb: its swaps stop, its code has names, without its ELF too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import Gdb
from machines import SECONDS

from bareflow_gdb.cli.verbs.gdb import _attach
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine


@pytest.fixture
def held(firmware: Path) -> Iterator[Machine]:
    """The demo before its run, its functions registered."""
    machine = launch(firmware / "tinyllama.img", settings=RootSettings(hold=1))
    try:
        wait_for_stage(machine, "registered", SECONDS)
        yield machine
    finally:
        machine.stop()


def test_break_swap_stops_at_each_of_its_swaps(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf break-swap", "bf release", "continue", "continue", "bf jit --json")
    assert len(re.findall(r"^Breakpoint 1, ", result.out, re.MULTILINE)) == 2
    functions = {one["name"]: (one["level"], one["calls"]) for one in result.json()["functions"]}
    assert functions == {"fibonacci": (0, 10), "sum_to_n": (1, 100), "count_primes": (0, 5)}


def test_step_swap_shows_the_store_and_both_codes(gdb: Gdb, held: Machine) -> None:
    commands = ("bf release", "bf step-swap count_primes --stay --json")
    record = gdb.run(f"bf attach {held.name}", *commands).json()
    assert (record["function"], record["old"]["version"], record["new"]["version"]) == ("count_primes", 3, 5)
    assert record["instruction"] == "mov dword ptr [edx], eax"
    assert record["after"] != record["before"]


@pytest.mark.parametrize("tier", ["sum_to_n@O1", "count_primes@O2"])
def test_a_breakpoint_by_jit_name_waits_for_its_tier(gdb: Gdb, held: Machine, tier: str) -> None:
    result = gdb.run(f"bf attach {held.name}", f"bf break jit:{tier}", "bf release", "continue", "bf jit --json")
    assert f"breakpoint 1 follows {tier}: pending until that code is published" in result.out
    assert re.search(rf"Breakpoint 1, 0x\w+ in {tier} \(\)", result.out)


def test_a_breakpoint_by_jit_name_stops_in_the_code_that_runs(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf break jit:fibonacci", "bf release", "continue")
    assert re.search(r"Breakpoint 1, 0x\w+ in fibonacci@O0 \(\)", result.out)


def test_questions_and_names_need_no_elf_given(gdb: Gdb, held: Machine) -> None:
    commands = (
        "bf jit",
        "bf profile",
        "bf swaps",
        "bf pools",
        "bf status",
        "bf boot",
        "bf disas sum_to_n@O0",
        "bf stack",
    )
    result = gdb.run(f"bf attach {held.name}", *commands)
    assert "Traceback" not in result.out + result.err
    assert "sum_to_n@O0 #2: " in result.out
    assert re.search(r"\b(adaptive_jit_wait_while_held|debug_interface_hold)\b", result.out)


def test_modules_are_said_never_to_have_been(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "bf modules", 'output $bf_calls("fibonacci")', 'output $bf_calls("none")'
    )
    said = result.out + result.err
    assert "this kernel has no modules: it is an application on the kernel library; `jit` shows its functions" in said
    assert "there is no function or module 'none'; there is fibonacci, sum_to_n, count_primes" in said


def test_bareflow_gdb_loads_the_elf_of_the_image_and_not_the_kernels(held: Machine, firmware: Path) -> None:
    assert _attach(held)[:2] == ["-se", str(firmware / "tinyllama_bare.elf")]
