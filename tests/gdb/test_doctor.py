"""`bf doctor` and `bareflow doctor`: each part that is missing is named, with what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gdb_harness import GDBS, KERNEL, ROOT, SCRIPT, SECONDS, Gdb, Result, bareflow
from rsp_proxy import RspProxy

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


def parts(result: Result) -> dict[str, dict[str, Any]]:
    return {check["part"]: check for check in result.json()["checks"]}


def test_with_everything_there_everything_works(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf doctor --host --json", elf=KERNEL)
    checks = parts(result)
    # Memory that a killed QEMU left on this host is nothing of the guest's or the suite's.
    limited = {name for name, check in checks.items() if check["state"] != "works"} - {"leftovers"}
    assert limited == {"JIT symbols"}
    assert result.json()["healthy"] is True
    version = subprocess.run([gdb.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert checks["this gdb"]["found"].split()[1] in version
    assert str(SCRIPT.parents[1] / ".venv") in checks["capstone"]["found"]
    assert checks["LLVM worker"]["found"].startswith("LLVM ")
    assert "its bytes are what gdb sees" in checks["reader"]["found"]
    assert "the same build id, with debug information" in checks["ELF"]["found"]
    assert Guest.attach(idle_machine.memory()).root().build_id[:12] in checks["root descriptor"]["found"]


def test_the_hosts_tools_are_tried_only_when_asked_for(gdb: Gdb) -> None:
    program = parts(gdb.run("bf doctor --json"))["host program"]
    assert program["state"] == "works"
    assert program["found"] == str(SCRIPT.parents[1] / ".venv/bin/bareflow")
    assert {"LLVM worker", "nasm"} <= parts(gdb.run("bf doctor --host --json")).keys()


def test_without_a_guest_it_says_how_to_get_one(gdb: Gdb) -> None:
    result = gdb.run("bf doctor")
    assert "gdb is not connected to one" in result.out
    assert "guest: `bf attach` or `target remote`" in result.out


def test_through_a_gdbstub_alone_it_says_what_that_costs(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    with RspProxy(tmp_path / "gdb.sock", idle_machine.gdb_socket) as proxy:
        checks = parts(gdb.run(f"target remote {proxy.path}", "bf doctor --json"))
    assert checks["reader"]["state"] == "limited"
    assert "a packet for 2 KB" in checks["reader"]["found"]
    assert checks["root descriptor"]["state"] == "works"


def test_another_kernels_elf_and_a_damaged_root_fail_with_exit_status_1(gdb: Gdb, booted: Boot, firmware: Path) -> None:
    machine = booted(stage="idle")
    machine.pause()
    root = Guest.attach(machine.memory()).root()
    machine.memory().write(root.module_manager + 1344, (99).to_bytes(4, "little"), "count of modules")
    result = gdb.run(
        f"bf attach {machine.name}", "set bareflow exit-on-error on", "bf doctor", elf=firmware / "stock" / "stock.elf"
    )
    assert result.code == 1
    failing = [line.split()[0] for line in result.out.splitlines() if "  fails  " in line]
    assert "ELF" in failing
    assert "stock.elf is another kernel's" in result.out


def test_a_ram_file_that_is_not_this_guests_is_named(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="idle")
    kept = tmp_path / "ram"
    shutil.move(machine.ram_path, kept)
    machine.ram_path.write_bytes(bytes(machine.memory_mib << 20))
    checks = parts(gdb.run(f"bf attach {machine.name}", "bf doctor --json"))
    assert checks["reader"]["state"] == "fails"
    assert "is not this guest's" in checks["reader"]["found"]
    assert checks["events"]["state"] == "works", "gdb itself still reads"


def test_in_real_mode_what_is_not_there_yet_is_limited_and_not_wrong(gdb: Gdb, image: Path, launched: Boot) -> None:
    result = gdb.run(f"bf attach {launched(image, paused=True).name}", "bf doctor --json")
    checks = parts(result)
    assert result.json()["healthy"] is True
    assert checks["boot record"]["state"] == checks["root descriptor"]["state"] == "limited"
    assert "real mode" in checks["registers"]["found"]


def test_a_stock_kernel_says_how_its_tables_were_found(gdb: Gdb, ended: Boot) -> None:
    checks = parts(gdb.run(f"bf attach {ended('stock76').name}", "bf doctor --json"))
    assert checks["layout"]["found"] == "module records of 76 bytes, recognised from the data"
    assert "a stock kernel" in checks["root descriptor"]["found"]
    for part in ("modules", "pools", "jit"):
        assert checks[part]["state"] == "works"
        assert " by " in checks[part]["found"]


def test_a_missing_host_program_is_named_and_the_rest_goes_on(gdb: Gdb, tmp_path: Path) -> None:
    # A copy of the suite that lies beside no environment, in a gdb that is started outside of one.
    shutil.copytree(ROOT / "bareflow_gdb", tmp_path / "bareflow_gdb")
    shutil.copytree(ROOT / "gdb_scripts", tmp_path / "gdb_scripts")
    done = subprocess.run(
        [
            *(gdb.path, "-nx", "-batch", "-ex", f"source {tmp_path}/gdb_scripts/bareflow.py"),
            *("-ex", "python import sys; sys.path = [p for p in sys.path if '.venv' not in p]"),
            *("-ex", "bf doctor"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "NO_COLOR": "1"},
    )
    assert "host program" in done.stdout
    assert "is not installed where gdb finds it" in done.stdout
    assert "every decoder cannot work" in done.stdout
    failing = [line.split()[0] for line in done.stdout.splitlines() if "  fails  " in line]
    assert failing == ["dissect.cstruct", "capstone", "elftools", "host"], "rich is missed by nobody"


def test_a_running_guest_and_names_that_gdb_has_are_told(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf jitsym", "continue &", "bf doctor --json", "disconnect")
    checks = parts(result)
    assert checks["guest"]["found"] == f"remote machine {idle_machine.name}, running"
    assert "not compared while the guest runs" in checks["reader"]["found"]
    assert checks["JIT symbols"]["found"] == "gdb knows 12 published versions"
    assert checks["JIT symbols"]["state"] == "works"


def test_an_elf_without_debug_information_is_limited(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    bare = tmp_path / "bare.elf"
    subprocess.run(["llvm-strip-19", "--strip-debug", "-o", str(bare), str(KERNEL)], check=True)
    check = parts(gdb.run(f"bf attach {idle_machine.name}", "bf doctor --json", elf=bare))["ELF"]
    assert check["state"] == "limited"
    assert "the same build id; without debug information" in check["found"]


def test_an_elf_of_another_build_fails(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other.elf"
    data = KERNEL.read_bytes()
    note = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
    other.write_bytes(data[:note] + bytes(20) + data[note + 20 :])
    check = parts(gdb.run(f"bf attach {idle_machine.name}", "bf doctor --json", elf=other))["ELF"]
    assert check["state"] == "fails"
    assert "is another kernel's (build 000000000000, the guest is " in check["found"]


def test_a_host_program_that_answers_with_nonsense_is_named(tmp_path: Path) -> None:
    # The other gdb lies in an environment of its own, and finds that one's program.
    gdb = Gdb(GDBS["gdb-debian"])
    for folder in ("bareflow_gdb", "gdb_scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    program = tmp_path / ".venv" / "bin" / "bareflow"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho nonsense\necho 'bareflow doctor: a last word' >&2\n")
    program.chmod(0o755)
    (packages,) = (ROOT / ".venv" / "lib").glob("python3.*/site-packages")
    link = tmp_path / ".venv" / "lib" / packages.parent.name / "site-packages"
    link.parent.mkdir(parents=True)
    link.symlink_to(packages)
    done = gdb.run(f"source {tmp_path}/gdb_scripts/bareflow.py", "bf doctor --host --json", suite=False)
    check = parts(done)["host program"]
    assert (check["state"], check["advice"]) == ("fails", "`make setup`")
    assert check["found"] == f"{program}: doctor: a last word"


def test_the_host_program_tells_the_same_of_this_host_and_of_a_machine(idle_machine: Machine) -> None:
    result = bareflow("doctor", "--json", idle_machine.name, "--elf", str(KERNEL))
    checks = parts(result)
    assert result.code == 0
    assert "kernel.elf is this kernel's" in checks["ELF"]["found"]
    assert checks["guest"]["found"] == f"machine {idle_machine.name}"
    assert checks["qemu-system-i386"]["found"].startswith("7.")
    assert checks["room for RAM"]["state"] == "works"


def test_a_tool_that_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    for name in ("gdb", "clang-19", "ld.lld-19", "nasm"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    broken = tmp_path / "mcopy"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", "doctor", "--host", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:/nowhere"},
    )
    checks = {check["part"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["qemu-system-i386"]["state"] == "fails"
    assert checks["qemu-system-i386"]["advice"] == "apt-get install qemu-system-x86"
    assert "ends with status 3" in checks["mcopy"]["found"]
    assert checks["nasm"]["state"] == "works"


@pytest.mark.parametrize("name", ("qemu-system-i386", "gdb", "clang-19", "ld.lld-19", "nasm", "mcopy"))
def test_a_tool_that_starts_but_does_not_do_its_work_fails(tmp_path: Path, name: str) -> None:
    broken = tmp_path / name
    broken.write_text('#!/bin/sh\ncase "$*" in --version|-v) echo 9.9;; *) echo "no memory" >&2; exit 4;; esac\n')
    broken.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "bareflow_gdb.cli.main", "doctor", "--host", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    checks = {check["part"]: check for check in json.loads(done.stdout)["checks"]}
    assert [part for part, check in checks.items() if check["state"] == "fails"] == [name]
    assert "ends with status 4 (no memory)" in checks[name]["found"]


@pytest.mark.parametrize("target", ("nothing-of-this-name", "/etc/passwd"))
def test_a_target_that_is_none_is_a_finding(target: str) -> None:
    result = bareflow("doctor", "--json", target)
    assert result.code == 1
    assert parts(result)["guest"]["state"] == "fails"
