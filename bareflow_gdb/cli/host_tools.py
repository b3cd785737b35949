"""Does this host have what the suite runs: QEMU, gdb, compiler, LLVM, room for RAM, permissions?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.doctor import FAILS, LIMITED, WORKS, Check, attempt
from bareflow_gdb.qemu import directory
from bareflow_gdb.qemu.command import EMULATOR

SECONDS = 30.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")

# program, what it is for, the Debian package that has it
TOOLS = (
    (EMULATOR, "running machines", "qemu-system-x86"),
    ("gdb", "the commands inside gdb", "gdb"),
    ("clang-19", "building the firmware", "clang-19"),
    ("ld.lld-19", "building the firmware", "lld-19"),
    ("nasm", "building the boot loader", "nasm"),
    ("mcopy", "making the FAT16 disk", "mtools"),
)


def check_host() -> list[Check]:
    """Every program, then packages, room and permissions."""
    return [
        *(_program(*tool) for tool in TOOLS),
        _llvm(),
        attempt("room for RAM", _room),
        attempt("machine directory", _runtime),
        _ptrace(),
    ]


def _program(name: str, purpose: str, package: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, FAILS, f"not installed; it is for {purpose}", f"apt-get install {package}")
    option = "-v" if name == "nasm" else "--version"
    try:
        done = subprocess.run(
            [path, option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, FAILS, f"{path} does not start ({error})", f"reinstall {package}")
    if done.returncode:
        return Check(name, FAILS, f"{path} {option} ends with status {done.returncode}", f"reinstall {package}")
    found = _VERSION.search(done.stdout)
    return Check(name, WORKS, f"{found[0] if found else 'version unknown'}, {path}")


def _llvm() -> Check:
    """In a process of its own, as the compiler's worker is: LLVM may abort."""
    code = "import llvmlite.binding as b; import bareflow_gdb.recompile.worker; print(*b.llvm_version_info)"
    part = "LLVM worker"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(part, FAILS, f"it does not start ({error})", "`make setup`")
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["it died without a word"])[-1]
        return Check(part, FAILS, f"`recompile` cannot work: {words}", "`make setup` installs llvmlite")
    return Check(part, WORKS, f"LLVM {'.'.join(done.stdout.split())} in {sys.executable}")


def _room() -> Check:
    size = 64 << 20
    place = directory.ram_directory(directory.root(), size)
    info = os.statvfs(place)
    free = info.f_bavail * info.f_frsize >> 20
    part = "room for RAM"
    if place != directory.SHARED_MEMORY:
        return Check(
            part,
            LIMITED,
            f"{directory.SHARED_MEMORY} has no room for a machine, its RAM goes to {place} ({free} MiB free)",
            "free some of it, or start the container with a larger --shm-size",
        )
    return Check(part, WORKS, f"{free} MiB free in {place}, a machine takes 64")


def _runtime() -> Check:
    folder = directory.root()
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BareflowError(f"{folder} is not writable; set XDG_RUNTIME_DIR to a directory of yours")
    return Check("machine directory", WORKS, str(folder))


def _ptrace() -> Check:
    """Reading a QEMU that others started goes through /proc/PID/mem."""
    part = "foreign machines"
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    try:
        level = int(scope.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Check(part, WORKS, "this kernel does not restrict ptrace between processes of one user")
    if level == 0 or os.geteuid() == 0:
        return Check(part, WORKS, f"ptrace_scope is {level}")
    return Check(
        part,
        LIMITED,
        f"ptrace_scope is {level}: the RAM of a QEMU that others started is read through its gdbstub only",
        "start machines with `bareflow run`",
    )
