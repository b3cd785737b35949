"""Breakpoints by JIT name on the real guest: they follow the function, and nothing of them stays behind."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, SECONDS, Gdb
from machines import wait_for
from mi_gdb import MiError, MiGdb

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
NO_BREAKPOINTS = "No breakpoints"


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def entry_of(machine: Machine, function: str, level: int) -> int:
    versions = Guest.attach(machine.memory()).kernel().versions()
    return next(int(v.entry) for v in versions if v.function_name == function and v.level == level)


def test_one_tier_is_waited_for_before_its_code_exists(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf break jit:sum@O2", "bf release", "continue", "bf jit --json")
    assert "breakpoint 1 follows sum@O2: pending until that code is published" in result.out
    assert "not defined" not in result.out + result.err
    assert re.search(r"Breakpoint 1, 0x\w+ in sum@O2 \(\)", result.out)
    function = next(item for item in result.json()["functions"] if item["name"] == "sum")
    assert (function["level"], function["calls"]) == (2, 21), "stopped in the first call of O2"


def test_saved_ones_are_there_again_in_a_script(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    gdb.run(f"bf attach {held.name}", "bf break jit:sum@O2", f"save breakpoints {file}")
    again = (f"bf attach {held.name}", "set breakpoint pending on", f"source {file}", "bf jitsym")
    result = gdb.run(*again, "bf release", "continue")
    assert re.search(r"Breakpoint \d+, 0x\w+ in sum@O2 \(\)", result.out), result.err


def test_without_a_tier_it_moves_with_every_swap(gdb: Gdb, held: Machine) -> None:
    pc = 'printf "at %x\\n", $eip'
    result = gdb.run(
        f"bf attach {held.name}",
        "bf break jit:fibonacci",
        "ignore 1 9",
        "bf release",
        "continue",
        pc,
        "continue",
        pc,
        "ignore 1 9",
        "continue",
        pc,
        "info breakpoints",
        elf=KERNEL,
    )
    stops = [int(line.split()[1], 16) for line in result.out.splitlines() if line.startswith("at ")]
    for level, stop in enumerate(stops):
        assert 0 <= stop - entry_of(held, "fibonacci", level) < 32, (level, hex(stop))
    assert len(stops) == 3
    assert "breakpoint already hit 21 times" in result.out and "<fibonacci@O2" in result.out
    assert "1.1" not in result.out.split("Num ")[1], "it is in no replaced code"


def test_it_can_be_set_before_the_kernel_is_there(gdb: Gdb, image: object, launched: Boot) -> None:
    machine = launched(image, paused=True)
    result = gdb.run(f"bf attach {machine.name}", "bf break jit:compute@O0", "continue", "bt 2", elf=KERNEL)
    assert "Breakpoint 1, " in result.out and "compute@O0" in result.out
    assert "adaptive_jit_call" in result.out


def test_it_follows_code_that_the_host_compiles_with_its_lines(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    with MiGdb(gdb.path, script=SCRIPT, elf=KERNEL) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf break jit:primes")
        # The guest calls the new code at once: whether the recompiler is done by then is a matter of time.
        with contextlib.suppress(MiError):
            session.run("bf recompile primes --level 2")
        session.run("bf jitsym")
        assert "primes_main (a=1000, b=0) at firmware/modules/primes.c:" in session.run("frame")
        assert "primes@O2" in session.run("info symbol $eip") or "primes_main" in session.run("info symbol $eip")


def test_deleting_it_removes_what_belongs_to_it(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        session.run("bf break jit:primes@O1")
        assert "if $_bf_follow()" in session.run("maint info breakpoints")
        session.run("delete 1")
        session.run("bf status")
        assert NO_BREAKPOINTS in session.run("maint info breakpoints")


def test_ctrl_c_and_detach_leave_nothing_internal(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        session.run("bf break jit:primes@O1")
        session.run("bf break-swap primes")
        session.run("bf watch sum")
        session.start("continue")
        session.wait_for_running()
        session.interrupt(idle_machine)
        session.result("continue")
        assert "hw watchpoint" in session.run("info breakpoints")
        session.run("detach")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        left = session.run("maint info breakpoints")
        assert "-function primes@O1" in left and "bf_follow" not in left and "watchpoint" not in left


def test_a_killed_guest_leaves_nothing_internal(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf break jit:primes@O1")
        session.run("bf break-swap")
        session.start("continue")
        session.wait_for_running()
        session.end(machine)
        with contextlib.suppress(MiError):
            session.result("continue")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        assert "bf_follow" not in session.run("maint info breakpoints")


def test_a_name_that_is_none_is_one_sentence_and_sets_nothing(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf break jit:primes@O9", "info breakpoints")
    assert "'jit:primes@O9' does not name JIT code; write primes, primes@O3" in result.err
    assert "No breakpoints" in result.out


def test_break_swap_stops_before_each_store_of_its_function(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "bf break-swap sum", "bf release", "continue", "continue", "bf jit --json"
    )
    said = [line for line in result.out.splitlines() if line.startswith("sum: ")]
    entries = [entry_of(held, "sum", level) for level in range(3)]
    assert said == [
        f"sum: O{level} → O{level + 1}, call {calls} (threshold), new code 0x{entries[level + 1]:08x} about to be "
        f"published in place of 0x{entries[level]:08x}"
        for level, calls in enumerate((10, 20))
    ]
    function = next(item for item in result.json()["functions"] if item["name"] == "sum")
    assert function["level"] == 1, "the store to O2 is the next instruction"


def test_a_watchpoint_sees_the_pointer_change(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf watch sum", "bf release", "continue", "info breakpoints")
    old, new = entry_of(held, "sum", 0), entry_of(held, "sum", 1)
    assert f"Old value = (void *) {old:#x}" in result.out and f"New value = (void *) {new:#x}" in result.out
    assert f"sum: O0 → O1, call 10 (threshold), new code 0x{new:08x} published in place of 0x{old:08x}" in result.out
    assert "hw watchpoint" in result.out


@pytest.mark.parametrize("command", ("bf break-swap", "bf break-swap sum", "bf watch sum"))
def test_a_swap_stop_shows_no_address_as_a_decimal_number(gdb: Gdb, held: Machine, command: str) -> None:
    result = gdb.run(f"bf attach {held.name}", command, "bf release", "continue", "bt 1", elf=KERNEL)
    code = {entry for name in ("fibonacci", "sum") for level in range(4) for entry in (entry_of(held, name, level),)}
    assert re.search(r"^\w+: O0 → O1, call 10 \(threshold\), new code 0x", result.out, re.MULTILINE)
    assert not [entry for entry in code if str(entry) in result.out], result.out


def test_it_follows_after_a_command_that_let_the_guest_run_too(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "bf break jit:sum@O2", "bf release", "bf step-swap fibonacci --stay", "continue"
    )
    # During its own runs a command asks the followers; afterwards gdb does again.
    assert "Breakpoint 1, " in result.out.split("the guest remains stopped")[1], result.out


def test_deleting_it_at_the_prompt_removes_what_belongs_to_it_at_once(gdb: Gdb, idle_machine: Machine) -> None:
    typed = (f"bf attach {idle_machine.name}", "bf break jit:primes@O1", "delete 1", "maint info breakpoints", "detach")
    done = subprocess.run(
        [str(gdb.path), "-nx", "-q", "-x", str(SCRIPT)],
        input="\n".join(typed),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert NO_BREAKPOINTS in done.stdout


def test_a_temporary_one_is_gone_once_it_was_reached(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf break jit:sum --temporary",
        "bf release",
        "continue",
        "bf status",
        "maint info breakpoints",
    )
    assert "Temporary breakpoint 1, " in result.out
    assert NO_BREAKPOINTS in result.out


def test_what_cannot_be_followed_is_said_or_not_set(
    gdb: Gdb, idle_machine: Machine, firmware: Path, launched: Boot
) -> None:
    later = gdb.run(f"bf attach {idle_machine.name}", "bf break jit:moon")
    assert "breakpoint 1 follows moon@jit: pending" in later.out
    assert "its first code is not seen, without the kernel's ELF" in later.out
    stock = launched(firmware / "stock" / "stock.img", paused=True, with_disk=False)
    never = gdb.run(f"bf attach {stock.name}", "bf break jit:moon", "maint info breakpoints")
    assert "bf break: gdb cannot tell when the function is registered" in never.err
    assert NO_BREAKPOINTS in never.out


IN_A_SWAP = {
    "before the store": ("bf break-swap primes", "bf release", "continue"),
    "after the store": ("bf release", "bf step-swap primes --stay"),
    "at a watchpoint": ("bf watch primes", "bf release", "continue"),
}


@pytest.mark.parametrize("name", ("jit:primes@O1", "jit:primes"))
@pytest.mark.parametrize("place", IN_A_SWAP)
def test_one_that_is_set_inside_a_swap_stops_in_the_next_call(gdb: Gdb, held: Machine, place: str, name: str) -> None:
    result = gdb.run(f"bf attach {held.name}", *IN_A_SWAP[place], f"bf break {name}", "continue", "bf jit --json")
    assert re.search(r"Breakpoint \d, 0x\w+ in primes@O1 \(\)", result.out), result.out
    function = next(item for item in result.json()["functions"] if item["name"] == "primes")
    assert function["calls"] == 11, "stopped in the first call of O1"


def test_one_of_a_tier_that_is_replaced_at_this_store_waits(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", *IN_A_SWAP["before the store"], "bf break jit:primes@O0")
    assert "follows primes@O0: pending until that code is published" in result.out


def test_names_follow_swaps_that_the_guest_makes_itself(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf jitsym",
        "bf release",
        "bf step-swap compute --stay",
        "bf status",
        'info symbol $bf_func("sum")',
    )
    assert "sum@O3 in section" in result.out, result.out


def test_a_breakpoint_of_the_user_at_the_same_store_stops_there(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "bf break jit:sum@O3", "bf break-swap sum", "bf release", "continue", "bf jit --json"
    )
    assert len(re.findall(r"^sum: O0 → O1, call 10 \(threshold\), new code 0x", result.out, re.MULTILINE)) == 1
    function = next(item for item in result.json()["functions"] if item["name"] == "sum")
    assert function["level"] == 0, "it stands before its first swap"


@pytest.mark.parametrize("tier", ("O0", "O1"))
def test_on_a_stock_kernel_it_can_be_set_before_the_kernel_is_there(
    gdb: Gdb, firmware: Path, launched: Boot, tier: str
) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True, with_disk=False)
    result = gdb.run(
        f"bf attach {machine.name}",
        f"bf break jit:fibonacci@{tier}",
        "continue",
        "info symbol $pc",
        elf=firmware / "stock" / "stock.elf",
    )
    assert "Breakpoint 1, " in result.out, result.err
    assert f"fibonacci@{tier}" in result.out.split("Breakpoint 1, ")[1]


def test_a_function_may_be_named_by_its_number(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf watch 1", "bf watch sum", "bf watch 99")
    first, second = re.findall(r"on the code pointer of \w+ at (0x\w+)", result.out)
    assert first == second
    assert "no function '99' is registered" in result.err


def test_what_a_killed_gdb_left_is_removed_by_the_next_one(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = gdb.command(f"bf attach {idle_machine.name}", "bf jitsym", "python import time; time.sleep(1000)")
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as killed:
        (left,) = wait_for(lambda: list(tmp_path.glob("bareflow-gdb-*")), "the symbols of the first gdb")
        killed.kill()
    assert left.exists()
    result = gdb.run(f"bf attach {idle_machine.name}", "bf jitsym")
    assert result.code == 0, result.err
    assert list(tmp_path.glob("bareflow-gdb-*")) == []
