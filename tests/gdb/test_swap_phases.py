"""`bf step-swap --next` and `--phase`: each phase of a swap is a place to stop, with a name of its own everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from mi_gdb import MiGdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
PHASES = ("requested", "compiled", "copied", "about to publish", "published", "old version retired", "first call")


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def test_a_swap_is_walked_through_phase_by_phase_and_each_is_named_by_all(gdb: Gdb, held: Machine) -> None:
    asked = ("bf status", "bf swaps", "bf jit")
    walk = [command for _ in PHASES for command in ("bf step-swap primes --next --lines 3", *asked)]
    result = gdb.run(f"bf attach {held.name}", "bf release", *walk, "kill", elf=KERNEL)
    found = re.findall(r"^primes@O1: (.+) \(phase \d of 7\)$", result.out, re.MULTILINE)
    assert found == list(PHASES), result.out + result.err
    named = re.findall(r"^ +under way +(primes .*)$", result.out, re.MULTILINE)
    ahead = [f"primes O0 → O1: {phase}" for phase in PHASES[:4]]
    after = [f"primes → O1: {phase}" for phase in PHASES[4:]]
    assert named == [line for line in (*ahead, *after) for _ in asked]


def test_pointer_versions_blocks_codes_and_callers_are_shown(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf release",
        "bf step-swap primes --phase copied --json",
        "bf step-swap primes --phase about-to-publish --json",
        "p $pc == (unsigned) &bareflow_publish_store",
        "bf step-swap primes --phase published --json",
        "bt 1",
        "kill",
        elf=KERNEL,
    )
    copied, about, published = result.values()
    assert copied["pointer"] == about["pointer"] != published["pointer"]
    assert copied["runs"] == "primes@O0 #4" and published["runs"].startswith("primes@O1 #")
    states = [[version["state"] for version in record["versions"]] for record in (copied, about, published)]
    assert states == [["published", "emitted"], ["published", "emitted"], ["published", "published"]]
    assert all(version["code_size"] for version in copied["versions"])
    assert "primes@O0 #4" in copied["listing"][0] and "primes@O1 #" in copied["listing"][0]
    assert not published["listing"]
    assert any(name.startswith("adaptive_jit_call") for name in published["executing"])
    assert "$1 = 1" in result.out
    assert re.search(r"#0 +.*bareflow_hook_phase \(function=3, phase=5, level=1\)", result.out)


def test_nothing_stays_behind_and_the_run_ends(gdb: Gdb, held: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {held.name}")
        session.run("bf release")
        session.run("bf step-swap sum --phase compiled")
        assert "No breakpoints" in session.run("maint info breakpoints")
        assert Guest.attach(held.memory()).root().hooks == ()
        session.run("continue &")
        wait_for_stage(held, "idle")
    slots = Guest.attach(held.memory()).kernel().mailbox().slots
    assert {slot.phase for slot in slots} == {"none"}


@pytest.mark.parametrize("stop", ["bf break-swap primes", "bf step-swap primes --phase about-to-publish"])
def test_after_a_stop_in_a_swap_a_breakpoint_in_the_new_code_is_reached(gdb: Gdb, held: Machine, stop: str) -> None:
    stops = (stop, "continue") if "break" in stop else (stop,)
    result = gdb.run(f"bf attach {held.name}", "bf release", *stops, "delete", "bf break jit:primes@O1", "continue")
    assert "pending" not in result.out
    assert re.search(r"Breakpoint \d+, .*primes@O1", result.out), result.out[-800:] + result.err


@pytest.mark.parametrize("phase", ["compiled", "published", "old-version-retired"])
def test_at_any_phase_a_breakpoint_in_the_new_code_is_reached(gdb: Gdb, held: Machine, phase: str) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf release",
        f"bf step-swap primes --phase {phase} --lines 1",
        "bf break jit:primes@O1",
        "continue",
    )
    assert re.search(r"Breakpoint \d+, .*primes@O1", result.out), result.out[-800:] + result.err


def test_a_swap_that_is_refused_says_why_it_came_to_nothing(gdb: Gdb, booted: Boot) -> None:
    machine = booted("registered", hold=1, with_disk=False)
    result = gdb.run(f"bf attach {machine.name}", "bf release", *["bf step-swap primes --next"] * 2)
    assert "primes@O1: requested (phase 1 of 7)" in result.out
    assert "primes@O1: the swap came to nothing (no bitcode); primes@O0 #4 runs" in result.out


def test_what_the_host_compiles_has_the_same_phases(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    memory = machine.memory()
    kernel = Guest.attach(memory).kernel()
    slot = next(slot for slot in kernel.mailbox().slots if slot.function == "primes")
    # As a host asks, and serves nobody.
    memory.write(slot.address + layouts.offset("bf_mail_slot", "ask"), (4).to_bytes(4, "little"), "ask")
    doorbell = kernel.need_interface("").mailbox + layouts.offset("bf_mailbox", "doorbell")
    machine.pause()
    memory.write(doorbell, (1).to_bytes(4, "little"), "doorbell")
    result = gdb.run(f"bf attach {machine.name}", "bf step-swap --next", "bf status")
    assert "primes@O3: requested (phase 1 of 7)" in result.out
    assert "mailbox       idle" in result.out, "its state is told after the phase"
    assert "primes O3 → O3: requested" in result.out


def test_a_kernel_before_phases_says_what_works(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf step-swap --next --phase copied", "bf step-swap --phase no")
    assert "--next is whichever phase comes: give it, or --phase" in result.err
    assert "invalid choice" in result.err
