"""`bf recompile` on the real guest: LLVM on the host, the swap in the guest, names in the backtrace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, SECONDS, Gdb
from machines import wait_for
from mi_gdb import MiError, MiGdb
from rsp_proxy import OneStep

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.scenario import number
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


@pytest.fixture
def idle(booted: Boot) -> Machine:
    """A guest of its own that has ended its run."""
    return booted()


def test_a_stopped_guest_installs_the_new_code_and_is_stopped_again(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(f"bf attach {idle.name}", "bf recompile primes --level 3 --json", "info registers eip")
    outcome = result.json()
    assert (outcome["state"], outcome["level"], outcome["result"], outcome["correct"]) == ("installed", 3, 168, True)
    published = next(f for f in Guest.attach(idle.memory()).kernel().functions() if f.name == "primes")
    assert (published.version, published.level) == (outcome["version"], 3)
    assert re.search(r"eip +0x", result.out)


def test_a_backtrace_in_the_new_code_shows_its_function_by_name(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(f"bf attach {idle.name}", "bf recompile primes --stop", "bt", elf=KERNEL)
    frames = re.findall(r"^#\d+ +(?:0x\w+ in )?([^(]+) \(", result.out, re.MULTILINE)
    assert re.fullmatch(r"primes@O3 #\d+", frames[0]) and frames[1] == "adaptive_jit_call"
    assert "kernel_main" in frames
    assert re.search(r"primes@O3 #\d+ \(a=1000, b=0\) at firmware/modules/primes.c:", result.out)


@pytest.mark.parametrize(("step", "times"), ((1, 1), (2, 1), (2, 3)))
def test_a_stop_that_is_told_again_does_not_end_before_the_frame(
    gdb: Gdb, idle: Machine, tmp_path: Path, step: int, times: int
) -> None:
    with OneStep(tmp_path / "gdb.sock", idle.gdb_socket) as proxy:
        proxy.number, proxy.times = step, times
        places.write_record(idle.directory, {**idle.record(), "gdb_socket": str(proxy.path)})
        result = gdb.run(f"target remote {proxy.path}", "bf recompile primes --stop", "info args", elf=KERNEL)
        places.write_record(idle.directory, idle.record())
    assert proxy.answered == times
    assert "a = 1000\nb = 0\n" in result.out, result.out


def test_finish_out_of_the_new_code_shows_the_result(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(f"bf attach {idle.name}", "bf recompile fibonacci --stop", "finish", elf=KERNEL)
    assert "Value returned is $1 = 6765" in result.out


def test_a_breakpoint_by_name_stops_in_the_newest_code_only(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle.name}",
        "bf recompile sum --level 1",
        "bf recompile sum --level 3 --stop",
        "info line sum_main",
        "break sum_main",
        "info breakpoints",
        elf=KERNEL,
    )
    versions = Guest.attach(idle.memory()).kernel().versions()
    newest = max((v for v in versions if v.function_name == "sum"), key=lambda v: v.number)
    assert f"starts at address 0x{newest.code:x}" in result.out
    assert "2 locations" not in result.out and "multiple" not in result.out.lower()


def test_symbols_of_replaced_versions_are_removed(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle.name}",
        "bf recompile sum",
        "bf recompile sum",
        "bf recompile primes",
        "python print('objects', sum('/jit-' in o.filename for o in gdb.objfiles()))",
        "bf jitsym --json",
        elf=KERNEL,
    )
    assert "objects 1" in result.out, "one merged object, whatever was recompiled"
    attached = {item["name"]: item for item in result.json()["attached"]}
    versions = {v.number: v for v in Guest.attach(idle.memory()).kernel().versions()}
    assert all(versions[item["version"]].state == "published" for item in attached.values())
    assert {name for name, item in attached.items() if item["lines"]} == {"sum@O3", "primes@O3"}


def test_symbols_are_forgotten_with_the_connection(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle.name}", "bf recompile sum", "detach", "bf status", "info line sum_main", elf=KERNEL
    )
    assert 'Function "sum_main" not defined' in result.err


def test_a_guest_that_runs_in_the_background_goes_on_running(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(f"bf attach {idle.name}", "continue &", "bf recompile compute --level 2 --json", "disconnect")
    assert result.json()["correct"] is True
    assert idle.status() == "running"


def test_symbols_of_a_running_guest_come_with_the_next_command_at_a_stop(gdb: Gdb, idle: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle.name}")
        session.run("continue &")
        assert "attached by the first bf command after a stop" in session.run("bf recompile sum")
        session.run("interrupt")
        session.wait_for_stop()
        session.run("bf status")
        assert "sum_main" in session.run("info line sum_main")


def test_refused_bitcode_is_an_answer_no_and_the_guest_keeps_its_code(gdb: Gdb, idle: Machine) -> None:
    memory = idle.memory()
    before = next(f for f in Guest.attach(memory).kernel().functions() if f.name == "sum")
    payload = before.bitcode + layouts.size("bitcode_header")
    memory.write(payload + 64, bytes(256), "bitcode")
    result = gdb.run(
        "set bareflow exit-on-error on", f"bf attach {idle.name}", "bf recompile sum --json", "echo not reached\\n"
    )
    assert result.json()["state"] == "rejected"
    assert result.code == 1 and "not reached" not in result.out
    after = next(f for f in Guest.attach(memory).kernel().functions() if f.name == "sum")
    assert (after.version, after.level) == (before.version, before.level)


def test_a_function_that_is_not_there_is_one_sentence(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(f"bf attach {idle.name}", "bf recompile nothing", "bf status --json")
    assert "fibonacci, sum, compute, primes" in result.err
    assert result.json()["stage"] == "idle"


@contextlib.contextmanager
def never_done(session: MiGdb) -> Iterator[None]:
    """The compiler that gdb has just asked stands still meanwhile."""
    (compiler,) = session.children("compiler")
    os.kill(compiler, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(compiler, signal.SIGCONT)


def test_a_killed_qemu_ends_it_with_one_sentence(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.start("bf recompile primes")
        session.wait_for_running()
        with never_done(session):
            session.end(machine)
            with pytest.raises(MiError, match="the guest went away"):
                session.result("bf recompile primes")
        with pytest.raises(MiError, match="gdb is not connected to a guest"):
            session.run("bf status")


def test_ctrl_c_gives_it_up_and_gdb_stays_usable(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.start("bf recompile primes")
        session.wait_for_running()
        with never_done(session):
            session.interrupt(machine)
            told = "an interrupt stopped the guest before the recompilation was done"
            with pytest.raises(MiError, match=told):
                session.result("bf recompile primes")
        assert "registered" in session.run("bf status")
        wait_for(lambda: not session.children("compiler"), "the compiler's end")


def test_a_guest_of_somebody_else_is_told_apart(gdb: Gdb, idle: Machine, tmp_path: object) -> None:
    from rsp_proxy import RspProxy

    with RspProxy(Path(str(tmp_path)) / "gdb.sock", idle.gdb_socket) as proxy:
        result = gdb.run(f"target remote {proxy.path}", "bf recompile sum")
    assert "needs a machine started by `bareflow run`; this guest was started otherwise" in result.err


def test_one_compiler_is_kept_warm_and_goes_with_the_connection(gdb: Gdb, idle: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle.name}")
        session.run("bf recompile sum")
        first = session.children("compiler")
        session.run("bf recompile primes --level 2")
        assert len(first) == 1 and session.children("compiler") == first
        assert os.getsid(first[0]) != os.getsid(session.pid), "a Ctrl-C in gdb's terminal does not reach it"
        # One that has ended is replaced.
        os.kill(first[0], signal.SIGKILL)
        told = f"python import os; print(os.waitid(os.P_PID, {first[0]}, os.WEXITED | os.WNOHANG | os.WNOWAIT))"
        wait_for(lambda: session.run(told).strip() != "None", "the compiler's end")
        assert "installed" in session.run("bf recompile sum")
        session.run("detach")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        wait_for(lambda: not session.children("compiler"), "the compiler's end")


def test_stop_waits_for_the_hosts_code_while_the_guest_swaps_its_own(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1, run_calls=1000)
    result = gdb.run(
        f"bf attach {machine.name}", "bf release", "bf recompile fibonacci --level 1 --stop", "bt 1", elf=KERNEL
    )
    (frame,) = re.findall(r"^#0 +(?:0x\w+ in )?fibonacci@O1 #(\d+) ", result.out, re.MULTILINE)
    versions = [v for v in Guest.attach(machine.memory()).kernel().versions() if v.function_name == "fibonacci"]
    assert next(v.provider for v in versions if v.number == int(frame)) == "host"
    assert len([v for v in versions if v.provider != "host"]) > 2, "others were published before"


def test_a_program_gets_an_answer_to_each_line(idle_machine: Machine) -> None:
    questions = ["nonsense", '{"function": "nothing", "level": 3}', '{"function": "primes", "level": 3}']
    done = subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", "compiler", idle_machine.name],
        input="\n".join(questions) + "\n",
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    wrong, unknown, right = map(json.loads, done.stdout.splitlines())
    assert wrong["error"].startswith("this is not a question")
    assert "the guest has no function 'nothing'" in unknown["error"]
    assert right["state"] == "installed" and right["correct"] is True
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stopped_guest_counts_its_blocks_first_and_is_stopped_again(gdb: Gdb, idle: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle.name}", "bf recompile primes --profile --stop", "bf recompile primes --profile --json"
    )
    assert "with --profile or --specialise the guest runs a version that counts first: leave --stop out" in result.err
    outcome = result.json()
    assert (outcome["state"], outcome["result"], outcome["correct"]) == ("installed", 168, True)
    # One version that counted, and the one that was compiled by that.
    published = next(f for f in Guest.attach(idle.memory()).kernel().functions() if f.name == "primes")
    assert published.version == outcome["version"]
    assert "program is running" not in result.err


def test_a_guest_that_goes_on_gets_a_version_for_its_arguments_if_that_is_faster(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="running", scenario=number("calls"))
    wait_for(lambda: min(one.level for one in Guest.attach(machine.memory()).kernel().functions()) == 3, "O3")
    result = gdb.run(f"bf attach {machine.name}", "bf recompile primes --specialise --json", "detach")
    outcome = result.json()
    told = outcome["specialised"]
    assert (told["a"], told["b"], told["share"]) == (1000, 0, 1.0)
    primes = next(one for one in Guest.attach(machine.memory()).kernel().functions() if one.name == "primes")
    assert (primes.version == outcome["version"]) == told["kept"]
    assert primes.last_result == 168
