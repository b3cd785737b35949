"""`bf find`: places of records by argument are those of the debug information; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import Boot
from mi_gdb import MiError, MiGdb
from stock_twin import locals_of

from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.guest.stock.search import FAT16, JIT, JIT_PROFILE, MANAGER
from bareflow_gdb.qemu.machine import Machine

TYPES = {"adaptive_jit_t": JIT, "module_manager_t": MANAGER, "fat16_fs_t": FAT16, "jit_profile_t": JIT_PROFILE}
CAUGHT = {"stock": {JIT, MANAGER, FAT16}, "stock_unikernel": {JIT_PROFILE}}
LAST = {"stock": "adaptive_jit_register_function", "stock_unikernel": "jit_profile_begin"}
ENDS = {"stock": "--- END JSON ---", "stock_unikernel": "System halted."}


@pytest.fixture(params=sorted(CAUGHT))
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def paused(firmware: Path, launched: Boot, kernel: str) -> Machine:
    """A machine that has not run one instruction."""
    return launched(firmware / "stock" / f"{kernel}.img", with_disk=False, paused=True)


@pytest.fixture
def elf(firmware: Path, kernel: str) -> Path:
    """The kernel's ELF: symbols, no debug information."""
    return firmware / "stock" / f"{kernel}.elf"


def by_argument(text: str) -> dict[str, int]:
    records = json.loads(text)["records"]
    return {item["what"]: int(item["address"], 16) for item in records if item["how"] == "argument"}


def test_a_place_by_argument_is_that_of_the_twins_debug_information(
    gdb: Gdb, paused: Machine, elf: Path, kernel: str
) -> None:
    twin = elf.with_name(f"{kernel}_twin.elf")
    with MiGdb(gdb.path, script=SCRIPT, elf=elf) as session:
        session.run(f"bf attach {paused.name}")
        caught = by_argument(session.run("bf find --at-entry --json"))
        assert f"<{LAST[kernel]}>" in session.run("output/a $eip")
        assert "No breakpoints" in session.run("maint info breakpoints")
        session.run(f"file {twin}")
        session.run("frame function kernel_main")
        base = int(session.run("output (unsigned) $ebp"))
        places = {
            TYPES[kind]: base + offset for kind, offset in locals_of(twin, "kernel_main").values() if kind in TYPES
        }
        session.run("frame function " + LAST[kernel])
        session.run(f"file {elf}")
        assert caught == places
        assert set(caught) == CAUGHT[kernel]
        session.run("continue &")
        wait_for_serial(paused, ENDS[kernel])
        session.run("interrupt")
        session.wait_for_stop()
        again = json.loads(session.run("bf find --json"))["records"]
        sure = {item["what"] for item in again if (item["how"], item["confidence"]) == ("argument", "certain")}
        # Without a disk the kernel leaves the state of its file system empty.
        assert sure == CAUGHT[kernel] - {FAT16}
        assert [item["how"] for item in again if item["what"] == "pool table"] == ["symbol"]


def test_with_go_on_the_guest_ends_its_run(gdb: Gdb, paused: Machine, elf: Path, kernel: str) -> None:
    result = gdb.run(f"bf attach {paused.name}", "bf find --at-entry --go-on", elf=elf)
    assert f"{LAST[kernel]} was entered with 0x0008" in result.out
    assert "the guest goes on" in result.out
    wait_for_serial(paused, ENDS[kernel])


@pytest.mark.parametrize("kernel", ("stock",))
def test_without_symbols_it_is_one_sentence(gdb: Gdb, paused: Machine, elf: Path) -> None:
    stripped = elf.with_name("stock_stripped.elf")
    result = gdb.run(f"bf attach {paused.name}", "bf find --at-entry", elf=stripped)
    assert "load the kernel's ELF that has symbols with `file`" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("kernel", ("stock",))
def test_a_breakpoint_of_the_user_ends_the_waiting_with_what_was_caught(gdb: Gdb, paused: Machine, elf: Path) -> None:
    record = gdb.run(f"bf attach {paused.name}", "hbreak *fat16_init", "bf find --at-entry --json", elf=elf).json()
    assert [item["function"] for item in record["caught"]] == ["module_load", "fat16_init"]
    assert (record["not_entered"], record["stopped_by"]) == ([LAST["stock"]], "breakpoint 1")


@pytest.mark.parametrize("kernel", ("stock",))
def test_ctrl_c_and_a_killed_guest_leave_nothing_set(gdb: Gdb, paused: Machine, elf: Path) -> None:
    paused.resume()
    wait_for_serial(paused, ENDS["stock"])
    with MiGdb(gdb.path, script=SCRIPT, elf=elf) as session:
        session.run(f"bf attach {paused.name}")
        session.start("bf find --at-entry")
        session.wait_for_running()
        session.interrupt(paused)
        with pytest.raises(MiError, match=r"none of .* was entered: an interrupt stopped the guest first"):
            session.result("bf find --at-entry")
        assert "No breakpoints" in session.run("maint info breakpoints")
        session.start("bf find --at-entry")
        session.wait_for_running()
        session.end(paused)
        with pytest.raises(MiError, match="the guest went away"):
            session.result("bf find --at-entry")
        assert "No breakpoints" in session.run("maint info breakpoints")


def test_a_kernel_with_a_root_descriptor_is_found_by_it(gdb: Gdb, idle_machine: Machine) -> None:
    attach = f"bf attach {idle_machine.name}"
    (record,) = gdb.run(attach, "bf find --json").json()["records"]
    assert (record["what"], record["how"], record["confidence"]) == ("root descriptor", "image header", "certain")
    alone = gdb.run(attach, "bf find --go-on")
    assert "--go-on is for --at-entry: nothing else lets the guest run" in alone.err
    refused = gdb.run(attach, "bf find --at-entry", elf=KERNEL)
    assert "this kernel has a root descriptor, so there is nothing to catch" in refused.err
