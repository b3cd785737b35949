"""Backtraces through JIT code without debug information: right at every instruction, named by version."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import SECONDS
from mi_gdb import MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.guest.boot.wait import release, wait_for_serial
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def test_a_backtrace_names_function_tier_and_version(gdb: Gdb, held: Machine) -> None:
    result = gdb.run(f"bf attach {held.name}", "bf break jit:primes@O2", "bf release", "continue", "bt", elf=KERNEL)
    found = re.search(r"^#0 +0x\w+ in primes@O2 #(\d+) \(\)", result.out, re.MULTILINE)
    assert found is not None, result.out
    version = next(v for v in Guest.attach(held.memory()).kernel().versions() if v.number == int(found[1]))
    assert (version.function_name, version.level) == ("primes", 2)
    assert re.search(r"^#1 .* in adaptive_jit_call \(function=3, a=1000, b=0\)", result.out, re.MULTILINE)
    assert "kernel_main" in result.out and "corrupt" not in result.out


def test_a_backtrace_goes_from_the_exceptions_handler_to_the_code_that_it_interrupted(gdb: Gdb, held: Machine) -> None:
    primes = next(one for one in Guest.attach(held.memory()).kernel().jit_code() if one.name == "primes@O0")
    held.memory().write(primes.code, b"\x0f\x0b", "code")
    release(held)
    wait_for_serial(held, "[EXCEPTION]", SECONDS)
    result = gdb.run(f"bf attach {held.name}", "bt", elf=KERNEL)
    frames = re.findall(r"^#\d+ +(?:0x\w+ in )?(.*) \(", result.out, re.MULTILINE)
    at = frames.index("dispatch[frame]")
    assert frames[at - 2 : at] == ["exception_take", "interrupt_dispatch"], result.out
    assert frames[at + 1].startswith("primes@O0 #4"), result.out
    assert "kernel_main" in frames[at + 2 :]


@pytest.mark.parametrize(("function", "level"), (("sum", 0), ("compute", 1)))
def test_the_caller_is_right_at_every_instruction(gdb: Gdb, held: Machine, function: str, level: int) -> None:
    # One whole call, from the first instruction to `ret`: the caller and its registers never change.
    with MiGdb(gdb.path, script=SCRIPT, elf=KERNEL) as session:
        session.run(f"bf attach {held.name}")
        session.run("bf status")
        session.run("bf release")
        if level:
            # This one pushes registers of its caller, and uses them.
            session.run(f"bf step-swap {function} --stay")
        versions = [v for v in Guest.attach(held.memory()).kernel().versions() if v.function_name == function]
        entry = next(v for v in versions if v.level == level)
        session.run(f"tbreak *{int(entry.entry)}")
        session.run("continue")
        session.wait_for_stop()
        session.run(
            'python exec("def walk():\\n f = gdb.newest_frame(); up = f.older()\\n '
            "return (up.name(), up.pc(), [int(up.read_register(r)) for r in ('esp', 'ebx', 'esi', 'edi', 'ebp')])\")"
        )
        seen = set()
        for _ in range(24):
            seen.add(session.run("python print(walk())"))
            session.run("stepi")
            session.wait_for_stop()
        # … and from the epilogue on.
        code = held.memory().read(int(entry.code), entry.code_size, "code")
        session.run(f"tbreak *{int(entry.code) + code.rindex(0xC3)}")
        session.run("continue")
        session.wait_for_stop()
        seen.add(session.run("python print(walk())"))
    assert len(seen) == 1, seen
    assert "adaptive_jit_call" in seen.pop()


def test_without_a_ram_file_ebp_frames_are_found_too(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    with RspProxy(tmp_path / "gdb.sock", held.gdb_socket) as proxy:
        result = gdb.run(
            f"target remote {proxy.path}", "bf break jit:primes@O1", "bf release", "continue", "bt", elf=KERNEL
        )
    assert re.search(r"^#0 +0x\w+ in primes@O1 #\d+ \(\)", result.out, re.MULTILINE)
    assert re.search(r"^#1 .* in adaptive_jit_call \(", result.out, re.MULTILINE)


def test_sourcing_the_script_again_leaves_one_unwinder_and_one_filter(gdb: Gdb) -> None:
    result = gdb.run(
        f"source {SCRIPT}",
        "python print([u.name for u in gdb.frame_unwinders], list(gdb.frame_filters))",
        "info unwinder",
    )
    assert "['bareflow'] ['bareflow']" in result.out


def test_where_no_stack_or_no_kernel_is_a_backtrace_is_gdbs_own(
    gdb: Gdb, held: Machine, image: Path, launched: Boot
) -> None:
    spoiled = gdb.run(
        f"bf attach {held.name}",
        "bf status",
        "bf release",
        'tbreak *$bf_func("sum")',
        "continue",
        "set var $esp = 0xfee00000",
        "bt",
    )
    early = gdb.run(f"bf attach {launched(image, paused=True).name}", "bf break-boot stage1 --run", "bt")
    for result in (spoiled, early):
        assert "#0 " in result.out
        for trouble in ("Python Exception", "Error occurred", "Traceback"):
            assert trouble not in result.out + result.err


@pytest.mark.parametrize("connect", ("bf attach {name}", "target remote {socket}"))
def test_a_stop_in_jit_code_shows_its_name_unasked(gdb: Gdb, booted: Boot, connect: str) -> None:
    machine = booted(stage="registered", hold=1)
    entry = next(v.entry for v in Guest.attach(machine.memory()).kernel().versions() if v.function_name == "primes")
    typed = connect.format(name=machine.name, socket=machine.gdb_socket)
    result = gdb.run(typed, "bf release", f"tbreak *{int(entry):#x}", "continue", "stepi", "info symbol $pc")
    assert f"0x{entry:08x} in primes@O0 ()" in result.out, result.out
    assert "?? ()" not in result.out.split("Temporary breakpoint 1, ")[1]


def test_a_hook_of_the_users_stays(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    hook = "python gdb.execute('define hook-stop\\necho mine\\nend')"
    result = gdb.run(hook, f"bf attach {machine.name}", "stepi", "show user hook-stop")
    assert "_bf_stopped" not in result.out and "echo mine" in result.out


def test_the_commands_of_a_watchpoint_that_is_hit_in_jit_code_run(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    entry = next(v.entry for v in Guest.attach(machine.memory()).kernel().versions() if v.function_name == "primes")
    script = tmp_path / "watch.gdb"
    script.write_text(
        f"thbreak *{int(entry):#x}\ncontinue\nbf jitsym --detach\n"
        'eval "watch *(unsigned *) %u", $esp - 16\ncommands\necho COMMANDS RAN\\n\nend\ncontinue\n'
    )
    result = gdb.run(f"bf attach {machine.name}", "bf release", f"source {script}")
    assert "Hardware watchpoint 2: " in result.out and "COMMANDS RAN" in result.out, result.out
