"""What the suite sets is gone on every way out: a Ctrl-C, an error, a detach, a killed guest, a reload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from gdb_harness import SCRIPT, Gdb
from mi_gdb import MiError, MiGdb

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
NO_BREAKPOINTS = "No breakpoints"

# Commands that wait for something that an idle guest does not do.
WAITING = ("step-swap", "step-swap primes", "break-boot stage1 --run")
# Commands that set what goes with the connection.
SETTING = ("watch primes", "break-swap", "break-swap primes", "break jit:primes@O1")


def listed(session: MiGdb) -> str:
    return session.run("maint info breakpoints")


def test_ctrl_c_and_then_a_killed_guest(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        for command in WAITING:
            session.start(f"bf {command}")
            session.wait_for_running()
            session.interrupt(machine)
            with pytest.raises(MiError, match="an interrupt stopped the guest first"):
                session.result(command)
            assert NO_BREAKPOINTS in listed(session), command
        session.start(f"bf {WAITING[-1]}")
        session.wait_for_running()
        session.end(machine)
        with pytest.raises(MiError, match="the guest went away"):
            session.result("the killed guest")
        assert NO_BREAKPOINTS in listed(session)


@pytest.mark.parametrize("end", ("detach", "disconnect", "bf reload", "kill"))
def test_what_goes_with_the_connection(gdb: Gdb, booted: Boot, end: str) -> None:
    machine = booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        for command in SETTING:
            session.run(f"bf {command}")
        assert "breakpoint" in listed(session)
        try:
            session.run(end)
        except MiError:
            # QEMU ends when it is told to kill its guest, and gdb 18 may find it gone before its last packet.
            assert end == "kill"
        # A breakpoint by a JIT function's name is the user's own: it waits for the next guest.
        session.run("bf doctor --json")
        # After a reload the connection is still there, and that breakpoint's follower is set again.
        left = session.run("info breakpoints") if end == "bf reload" else listed(session)
        assert "watchpoint" not in left
        assert "0x" not in left.replace("<PENDING>", ""), left


def test_an_error_of_gdb_in_the_midst(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        for _ in range(2):
            with suppress(MiError):
                session.run("bf step-swap nothing-of-this-name")
            with suppress(MiError):
                session.run("bf watch nothing-of-this-name")
            with suppress(MiError):
                session.run("bf break-swap nothing-of-this-name")
        assert NO_BREAKPOINTS in listed(session)


def test_in_qemu_too_nothing_is_left_behind(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    gdb.run(f"bf attach {machine.name}", "bf release", "bf watch primes", "bf break-swap", "continue", "detach")
    # Nobody holds the guest any more: it comes to the end of its run.
    wait_for_stage(machine, "idle")


def test_what_listened_to_a_stop_listens_no_more(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    kept = (
        "python import gc; lists = [item for item in gc.get_objects() if type(item) is list]; "
        "print('kept', sum(any(isinstance(one, gdb.StopEvent) for one in item) for item in lists))"
    )
    result = gdb.run(f"bf attach {machine.name}", "bf release", "bf step-swap --stay", "stepi", kept)
    assert "kept 0" in result.out, result.out
