"""`bf step-swap` on the real guest: stops before the store, steps across it, leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb, bareflow
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
NO_BREAKPOINTS = "No breakpoints"


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def test_the_pointer_changes_by_the_one_instruction_that_is_stepped(gdb: Gdb, held: Machine) -> None:
    record = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap sum --stay --json").json()
    versions = {version.number: version for version in Guest.attach(held.memory()).kernel().versions()}
    old, new = versions[record["old"]["version"]], versions[record["new"]["version"]]
    assert (record["function"], old.level, new.level) == ("sum", 0, 1)
    assert record["instruction"] == "mov dword ptr [edx], eax"
    assert record["before"] == f"0x{old.entry:08x}"
    assert record["after"] == f"0x{new.entry:08x}" != record["before"]
    assert int(record["eip_after"], 16) == int(record["eip_before"], 16) + 2
    assert record["eip_before"] == record["store"]
    assert record["goes_on"] is False


def test_both_codes_stand_side_by_side_as_the_disassembler_sees_them(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf release",
        "bf step-swap primes --stay --lines 0",
        "x/3i *(unsigned*)$edx",
        elf=KERNEL,
    )
    lines = result.out.splitlines()
    title = next(index for index, line in enumerate(lines) if "primes@O0 #" in line and "primes@O1 #" in line)
    first = lines[title + 1].split()
    assert first == ["+000", "push", "ebp", "+000", "push", "ebp"]
    assert any(line.rstrip().endswith("ret") for line in lines)
    assert "the guest remains stopped" in result.out


def test_others_pass_until_the_function_that_is_waited_for(gdb: Gdb, held: Machine) -> None:
    # primes is the last one to be run: swaps of the three others come before its first.
    result = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap primes --stay", "bf swaps --json")
    swapped = [swap["function"] for swap in result.json()["swaps"]]
    # The swap that is being stepped is recorded after the store.
    assert swapped == [name for name in ("fibonacci", "sum", "compute") for _ in range(3)]


def test_without_a_name_the_next_swap_of_any_function_is_taken(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap --stay", "bf step-swap --stay").out
    assert result.count("fibonacci: stopped before the publishing store") == 2
    assert "fibonacci@O0 #" in result and "fibonacci@O2 #" in result


def test_the_guest_goes_on_and_ends_its_run(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap compute", elf=KERNEL)
    assert "the guest goes on; `interrupt` stops it" in result.out
    assert "Cannot execute" not in result.err
    wait_for_stage(held, "idle")
    assert bareflow("status", held.name).code == 0


def test_no_breakpoint_stays_behind_in_gdb_or_in_qemu(gdb: Gdb, held: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {held.name}")
        session.run("bf release")
        session.run("bf step-swap fibonacci --stay")
        assert NO_BREAKPOINTS in session.run("maint info breakpoints")
        # Nobody stops the run any more.
        session.run("continue &")
        wait_for_stage(held, "idle")


def test_ctrl_c_ends_the_waiting_and_removes_the_breakpoint(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        session.start("bf step-swap primes")
        session.wait_for_running()
        session.interrupt(idle_machine)
        with pytest.raises(MiError, match="no swap came: an interrupt stopped the guest first"):
            session.result("bf step-swap primes")
        assert NO_BREAKPOINTS in session.run("maint info breakpoints")
        assert "idle" in session.run("bf status")


def test_a_breakpoint_of_the_user_ends_the_waiting_and_stays(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf release",
        "break adaptive_jit_call",
        "bf step-swap primes",
        "info breakpoints",
        elf=KERNEL,
    )
    assert "no swap came: breakpoint 1 stopped the guest first" in result.err
    assert "breakpoint already hit 1 time" in result.out


def test_a_killed_qemu_ends_the_waiting_with_one_sentence(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.start("bf step-swap primes")
        session.wait_for_running()
        session.end(machine)
        with pytest.raises(MiError, match="the guest went away"):
            session.result("bf step-swap primes")
        assert NO_BREAKPOINTS in session.run("maint info breakpoints")
        with pytest.raises(MiError, match="gdb is not connected to a guest"):
            session.run("bf status")


def test_a_function_that_is_not_registered_is_one_sentence_with_those_that_are(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf step-swap nothing")
    assert "fibonacci, sum, compute, primes" in result.err
    assert result.err.count("\n") == 1


def test_the_wrong_elf_does_not_mislead_it(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    source, wrong = tmp_path / "wrong.asm", tmp_path / "wrong.elf"
    source.write_text("global bareflow_publish_store\nbareflow_publish_store: ret\n")
    subprocess.run(["nasm", "-f", "elf32", "-o", str(wrong), str(source)], check=True)
    result = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap sum --stay", elf=wrong)
    assert "sum: stopped before the publishing store" in result.out


class FirstStep(RspProxy):
    """Answers gdb's first step itself: with `instead`, else with the stop that came before it."""

    _stop = b""
    instead = b""
    answered = False

    def answer(self, data: bytes) -> bytes:
        if b"vCont;s" not in data or self.answered:
            return b""
        self.answered = True
        return b"+" + (self.instead or self._stop)

    def _count(self, data: bytes, *, from_gdb: bool) -> bytes:
        stops = re.findall(rb"\$T05[^#]*#..", data)
        if stops and not from_gdb:
            self._stop = stops[-1]
        return super()._count(data, from_gdb=from_gdb)


def test_a_stop_that_is_told_twice_is_no_step_across_the_store(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    # Seen now and then, when the machine is busy.
    with FirstStep(tmp_path / "gdb.sock", held.gdb_socket) as proxy:
        record = gdb.run(f"target remote {proxy.path}", "bf release", "bf step-swap --stay --json").json()
    assert proxy.answered
    assert record["after"] == f"0x{int(record['new']['entry'], 16):08x}" != record["before"]
    assert int(record["eip_after"], 16) == int(record["eip_before"], 16) + 2


def test_a_guest_that_ends_during_the_step_is_one_sentence(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    with FirstStep(tmp_path / "gdb.sock", held.gdb_socket) as proxy:
        proxy.instead = b"$W00#b7"
        result = gdb.run(f"target remote {proxy.path}", "bf release", "bf step-swap --stay")
    said = result.err.strip().splitlines()[-1]
    assert said == "bf step-swap: the guest went away during a step; connect again with `bf attach`"


def test_under_mi_the_record_comes_without_the_breakpoints_own_lines(gdb: Gdb, held: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {held.name}")
        session.run("bf release")
        said = session.run("bf step-swap sum --stay --json")
    # The step is gdb's own, and MI shows where it ended; the breakpoint before it is silent.
    where, record = said.split("\n", 1)
    assert where.startswith("0x") and json.loads(record)["function"] == "sum"


def test_before_anything_is_registered_it_says_what_to_wait_for(gdb: Gdb, image: Path, launched: Boot) -> None:
    machine = launched(image, paused=True)
    result = gdb.run(f"bf attach {machine.name}", "bf break-boot kernel --run", "bf step-swap primes")
    assert "no function is registered yet, 'primes' neither: `continue` until they are" in result.err
