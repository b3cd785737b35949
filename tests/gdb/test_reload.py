"""Attach, detach, reset, reconnect, another kernel, loading again: nothing of before is shown or left."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, ROOT, SCRIPT, SECONDS, Gdb
from machines import wait_for
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


ALIVE = (
    "python import gc",
    "python sessions = [o for o in gc.get_objects() if type(o).__name__ == 'Session']",
    "python for session in sessions: session._stale = False",
    "stepi",
    "python print('listening:', sum(session._stale for session in sessions))",
)


# gdb keeps the method that it calls at an event, and tells nobody which those are.
HANDLERS = (
    "python import collections",
    "python names = ('_stale', '_disconnected', '_exiting', '_tidy', '_note', '_stopped', '_prompt')",
    "python methods = [o for o in gc.get_objects() if type(o).__name__ == 'method' and o.__name__ in names]",
    "python owners = {(o.__name__, id(o.__self__)) for o in methods}",
    "python print('handlers:', *sorted(collections.Counter(name for name, _ in owners).items()))",
)


@pytest.mark.parametrize("again", ("bf reload", f"source {SCRIPT}"), ids=("reload", "source"))
def test_only_the_newest_suite_listens_to_gdb(gdb: Gdb, idle_machine: Machine, again: str) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf status", again, again, "bf status", *ALIVE, *HANDLERS)
    assert "listening: 1\n" in result.out
    told = [f"('{name}', 1)" for name in ("_disconnected", "_exiting", "_note", "_prompt", "_stale")]
    assert f"handlers: {' '.join(told)} ('_stopped', 1) ('_tidy', 1)\n" in result.out, result.out
    assert "Traceback" not in result.err


def test_the_connection_and_the_users_breakpoints_stay(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        "break adaptive_jit_call",
        "bf reload",
        "info breakpoints",
        "bf status --json",
        elf=KERNEL,
    )
    assert "in adaptive_jit_call at" in result.out
    assert result.json()["stage"] == "idle"


def test_a_change_of_the_files_takes_effect_and_a_broken_one_does_not(gdb: Gdb, tmp_path: Path) -> None:
    for folder in ("bareflow_gdb", "gdb_scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    command = tmp_path / "bareflow_gdb" / "questions" / "status.py"
    source = command.read_text()
    changed = f"python open({str(command)!r}, 'w').write"
    done = subprocess.run(
        [
            *(gdb.path, "-nx", "-batch", "-ex", f"source {tmp_path}/gdb_scripts/bareflow.py"),
            *("-ex", f"{changed}({source.replace('where the guest is,', 'TELL where the guest is,')!r})"),
            *("-ex", "bf reload", "-ex", "help bf status"),
            *("-ex", f"{changed}('def (')"),
            *("-ex", "bf reload", "-ex", "help bf status", "-ex", "bf status"),
            *("-ex", "python print('kept:', 'bareflow' in gdb.frame_filters)"),
            # Sourced, there is no old suite to go back to: nothing of it is left hooked up.
            *("-ex", f"source {tmp_path}/gdb_scripts/bareflow.py"),
            *("-ex", "python hooks = [*gdb.frame_unwinders, *gdb.frame_filters.values(), *gdb.pretty_printers]"),
            *("-ex", "python print('left:', 'bareflow' in [getattr(hook, 'name', '') for hook in hooks])"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": f"{ROOT}/.venv/bin:/usr/bin:/bin", "VIRTUAL_ENV": str(ROOT / ".venv"), "LANG": "C"},
    )
    assert done.stdout.count("TELL where the guest is") == 2
    assert "bf reload: the suite's files cannot be loaded (SyntaxError: " in done.stderr
    assert "it stays as it was" in done.stderr
    assert "kept: True" in done.stdout and "left: False" in done.stdout
    assert "bf status: gdb is not connected to a guest" in done.stderr


def test_reload_completes_a_recording(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    result = gdb.run(f"bf attach {idle_machine.name}", f"bf trace start {trace}", "bf reload", "bf trace stop")
    assert f"the trace {trace} is complete" in result.out
    assert "nothing is being recorded" in result.err
    manifest = trace / "manifest.json"
    wait_for(lambda: manifest.exists() and json.loads(manifest.read_text())["complete"], "the end of the recorder")


def test_two_kernels_in_one_gdb_are_told_apart(gdb: Gdb, booted: Boot, firmware: Path, launched: Boot) -> None:
    ours, stock = booted(stage="idle"), launched(firmware / "stock" / "stock.img", with_disk=False)
    wait_for_serial(stock, "--- END JSON ---", SECONDS)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        for _ in range(2):
            session.run(f"bf attach {ours.name}")
            assert f'"abi": "1.{layouts.const("BF_ABI_MINOR")}"' in session.run("bf status --json")
            session.run("disconnect")
            session.run(f"bf attach {stock.name}")
            assert '"abi": ""' in session.run("bf status --json")
            session.run("disconnect")


def test_two_inferiors_have_a_session_each(gdb: Gdb, booted: Boot) -> None:
    first, second = booted(stage="idle"), booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {first.name}")
        assert '"held": false' in session.run("bf status --json")
        session.run("add-inferior -no-connection")
        session.run("inferior 2")
        session.run(f"bf attach {second.name}")
        assert '"held": true' in session.run("bf status --json")
        session.run("inferior 1")
        assert '"held": false' in session.run("bf status --json")


def test_another_inferior_takes_nothing_from_the_first(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    first, second = booted(stage="idle"), booted(stage="idle")
    named = "python print([o.filename for s in gdb.progspaces() for o in s.objfiles() if '/jit-' in o.filename])"
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {first.name}")
        session.run("bf jitsym")
        session.run("bf watch primes")
        session.run(f"bf trace start {tmp_path / 'trace'}")
        session.run("add-inferior -no-connection")
        session.run("inferior 2")
        session.run(f"bf attach {second.name}")
        session.run("bf jitsym")
        assert session.run(named).count(".elf") == 2
        session.run("inferior 1")
        assert "recording: machine " + first.name in session.run("bf trace status")
        assert "hw watchpoint" in session.run("info breakpoints")
        session.run("inferior 2")
        session.run("detach")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        session.run("inferior 1")
        assert session.run(named).count(".elf") == 1 and "primes@O3" in session.run("bf jitsym")
        session.run("bf trace stop")
        session.run("detach")
        session.run("inferior 2")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        assert session.run(named).strip() == "[]", "those of an inferior that is not selected too"


def test_after_a_reset_and_another_run_nothing_old_is_shown(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        before = session.run("bf swaps --json")
        machine.qmp("system_reset")
        session.run("bf break-boot kernel --run")
        assert '"stage": "protected"' in session.run("bf boot --json")
        session.run("continue &")
        wait_for_stage(machine, "idle", SECONDS)
        session.run("interrupt")
        session.wait_for_stop()
        after = session.run("bf swaps --json")
        assert '"total"' in before or '"swaps"' in before
        assert after != before, "the times of a new run are others"
        assert after.count('"function"') == before.count('"function"')


def test_the_same_machine_is_read_anew_after_a_reconnect(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf status --json",
        "bf release",
        "disconnect",
        f"bf attach {machine.name}",
        "bf status --json",
    )
    assert [line for line in result.out.splitlines() if '"held"' in line] == ['  "held": true,', '  "held": false,']


def test_a_command_to_the_monitor_makes_what_was_read_old(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    """`loadvm` changes all memory at one stop, and gdb tells of no event."""
    machine = booted(stage="registered", hold=1)
    with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy:
        result = gdb.run(
            f"target remote {proxy.path}",
            "monitor savevm here",
            "bf status --json",
            "bf release",
            "bf status --json",
            "monitor loadvm here",
            "bf status --json",
            "show user hookpost-monitor",
        )
    held = [line.strip(" ,") for line in result.out.splitlines() if '"held"' in line]
    assert held == ['"held": true', '"held": false', '"held": true'], result.err
    assert "_bf_monitored" in result.out


@pytest.mark.both_gdbs
def test_gdbs_own_registers_are_those_of_the_state_that_was_loaded(gdb: Gdb, booted: Boot) -> None:
    """They are read anew after a command to the monitor; a frame that was selected stays selected."""
    machine = booted(stage="registered", hold=1)
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf release",
        "tbreak bareflow_publish_store",
        "continue",
        "monitor savevm here",
        "up 2",
        "monitor info version",
        "frame",
        "tbreak idle",
        "continue",
        "monitor loadvm here",
        "print $pc",
        "bf disas $pc",
        "backtrace 2",
        elf=KERNEL,
    )
    selected, _, loaded = result.out.partition("Temporary breakpoint 2")
    assert re.search(r"^#2 .* in recompile \(", selected, re.MULTILINE), result.out
    loaded = loaded[loaded.index("$1 = ") :]
    assert "adaptive_jit_swap_code" in loaded.partition("\n")[0]
    assert "bareflow_publish_store" in loaded
    assert re.search(r"^#1 .* in publish_version \(", loaded, re.MULTILINE)
    assert "idle" not in loaded
