"""`bf swap` in both gdbs: a stopped guest runs until the order is carried out, and what stopped it first is told."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import wait_for
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

Boot = Callable[..., Machine]


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def levels(machine: Machine) -> dict[str, int]:
    return {function.name: function.level for function in Guest.attach(machine.memory()).kernel().functions()}


def test_a_stopped_guest_runs_until_the_order_is_done_and_is_stopped_again(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}",
        "bf swap force primes O2",
        "bf swap rollback primes",
        "bf swap allow primes --json",
        "info breakpoints",
        'info symbol *(unsigned *) $bf_func("primes")',
        "bf status",
    )
    assert "primes@O0 #4 → primes@O2 #13" in result.out
    assert "primes@O2 #13 → primes@O0 #4; its swaps are vetoed now" in result.out
    assert result.json()["control"] == "allow"
    assert "No breakpoints" in result.out
    assert "registered (held)" in result.out


def test_a_veto_at_a_stop_lets_nothing_run_and_holds_through_the_run(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "p $pc", "bf swap veto primes", "p $pc == $1", "bf jit", "bf release", "detach"
    )
    assert "swaps of primes are vetoed, it stays primes@O0 #4" in result.out
    assert "$2 = 1" in result.out
    assert "vetoed        primes" in result.out
    wait_for_stage(held, "idle")
    assert levels(held) == {name: 0 if name == "primes" else 3 for name in levels(held)}


def test_a_veto_that_comes_too_late_for_a_swap_says_so(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(
        f"bf attach {held.name}", "bf release", "bf break-swap primes", "continue", "bf swap veto primes", "bf status"
    )
    assert "the swap to O1 that is under way (about to publish) is not stopped by it" in result.out
    assert "primes O0 → O1: about to publish" in result.out


def test_a_breakpoint_in_the_middle_of_it_is_told_and_continue_ends_it(gdb: Gdb, held: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT, elf=KERNEL) as session:
        session.run(f"bf attach {held.name}")
        session.run("bf break-swap primes")
        said = session.run("bf swap force primes O1")
        assert "force was not done: breakpoint 1 stopped the guest while the swap was about to publish" in said
        session.run("delete")
        session.run("continue &")
        wait_for(lambda: levels(held)["primes"] == 1, "what the guest had begun")


def test_what_the_host_answers_meanwhile_is_told_with_its_reason(gdb: Gdb, held: Machine) -> None:
    memory = held.memory()
    kernel = Guest.attach(memory).kernel()
    for function in kernel.functions():
        if function.name in ("compute", "primes"):
            record = kernel.need_interface("").function_table + function.index * layouts.size("bf_function")
            host = struct.pack("<I", layouts.const("BF_PROVIDER_HOST"))
            memory.write(record + layouts.offset("bf_function", "provider"), host, "provider")
        if function.name == "primes":
            bitcode = Address(function.bitcode + layouts.size("bitcode_header"))
            memory.write(bitcode, b"garbage!", "bitcode")
    done = threading.Event()
    with Service(memory, held.directory) as service:
        serving = threading.Thread(target=lambda: list(service.serve(done.is_set)), daemon=True)
        serving.start()
        good = gdb.run(f"bf attach {held.name}", "bf swap force compute O1 --timeout 600 --json", "detach")
        bad = gdb.run(f"bf attach {held.name}", "bf swap force primes O2 --timeout 600 --json", "detach")
        done.set()
        serving.join()
    record = good.json()
    assert (record["done"], record["level"]) == (True, 1), record
    assert "bad_bitcode" in bad.out and "bad bitcode" in bad.out, bad


def test_a_running_guest_answers_without_being_stopped(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf status")
        session.run("continue &")
        assert "sum@O3 #18 → sum@O1 #" in session.run("bf swap force sum O1")
        assert "swaps of sum are vetoed" in session.run("bf swap veto sum")
        assert machine.status() == "running"


def test_through_a_gdbstub_alone_too(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted()
    with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy, MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"target remote {proxy.path}")
        assert "sum@O3 #18 → sum@O1 #" in session.run("bf swap force sum O1")
        assert json.loads(session.run("bf swap veto sum --json"))["done"] is True
        assert "vetoed" in session.run("bf swaps")


def test_refusals_are_status_1_and_one_sentence(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        "set bareflow exit-on-error on", f"bf attach {idle_machine.name}", "bf swap rollback primes 1", "echo NO\\n"
    )
    assert result.code == 1 and "NO" not in result.out
    assert "rollback was not done: version #1 is fibonacci@O0 #1" in result.out


def test_words_are_completed_and_checked(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        assert "bf swap rollback" in session.run("complete bf swap ro")
        assert "bf swap veto primes" in session.run("complete bf swap veto pri")
        with pytest.raises(MiError, match="which tier"):
            session.run("bf swap force primes")


def stuck(gdb: Gdb, held: Machine) -> MiGdb:
    """A gdb whose guest is stopped in a loop that it does not leave: jmp ."""
    session = MiGdb(gdb.path, script=SCRIPT)
    session.run(f"bf attach {held.name}")
    session.run("set {unsigned short} $pc = 0xfeeb")
    return session


def control(held: Machine) -> str:
    slots = Guest.attach(held.memory()).kernel().mailbox().slots
    return next(slot.control for slot in slots if slot.function == "primes")


def test_ctrl_c_takes_the_order_back_and_leaves_nothing(gdb: Gdb, held: Machine) -> None:
    with stuck(gdb, held) as session:
        session.start("bf swap force primes O1")
        session.wait_for_running()
        session.interrupt(held)
        with pytest.raises(MiError, match="an interrupt stopped the guest before it came to the order"):
            session.result("bf swap force primes O1")
        assert "No breakpoints" in session.run("maint info breakpoints")
        assert control(held) == "allow"


def test_a_guest_that_comes_to_no_safe_point_is_told_when_the_time_is_over(gdb: Gdb, held: Machine) -> None:
    with stuck(gdb, held) as session:
        with pytest.raises(MiError, match="the guest came to no safe point within 1 s, and the order is taken back"):
            session.run("bf swap force primes O1 --timeout 1")
        assert "No breakpoints" in session.run("maint info breakpoints")
        assert control(held) == "allow"
