"""Does this host have what the suite runs: QEMU, gdb, compiler, LLVM, room for RAM, permissions?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb import libraries
from bareflow_gdb.build.fat_image import fat16_image
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.doctor import FAILS, LIMITED, WORKS, Check, attempt
from bareflow_gdb.guest.doctor_libraries import check_libraries
from bareflow_gdb.qemu import directory
from bareflow_gdb.qemu.command import EMULATOR
from bareflow_gdb.qemu.leftovers import leftovers
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.render.suggest import shell

SECONDS = 30.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")


@dataclass(frozen=True)
class Tool:
    """A program, what it is for, the Debian package that has it, and a small job in a folder of sources."""

    name: str
    purpose: str
    package: str
    job: tuple[str, ...]
    version: str = "--version"
    typed: str = ""


_LINK = "-m", "elf_i386", "-r", "-b", "binary", "x.c", "-o", "x.lld"
_MACHINE = "-nodefaults", "-machine", "pc", "-accel", "tcg", "-display", "none", "-S", "-monitor", "stdio"
TOOLS = (
    Tool(EMULATOR, "running machines", "qemu-system-x86", _MACHINE, typed="quit\n"),
    Tool("gdb", "the commands inside gdb", "gdb", ("-nx", "-batch", "-ex", "python import gdb, json, argparse")),
    Tool("clang-19", "building the firmware", "clang-19", ("--target=i686-unknown-none-elf", "-c", "x.c", "-o", "x.o")),
    Tool("ld.lld-19", "building the firmware", "lld-19", _LINK),
    Tool("nasm", "building the boot loader", "nasm", ("-f", "bin", "x.asm", "-o", "x.bin"), version="-v"),
    Tool("mcopy", "making the FAT16 disk", "mtools", ("-i", "x.img", "x.c", "::")),
)


def check_host() -> list[Check]:
    """Every program, then libraries, room and permissions."""
    return [
        *map(_program, TOOLS),
        *check_libraries(inside_gdb=False),
        attempt("LLVM worker", _llvm),
        attempt("room for RAM", _room),
        attempt("machine directory", _runtime),
        attempt("leftovers", _leftovers),
        _ptrace(),
    ]


def _program(tool: Tool) -> Check:
    path = shutil.which(tool.name)
    if path is None:
        return Check(tool.name, FAILS, f"not installed; it is for {tool.purpose}", f"apt-get install {tool.package}")
    with tempfile.TemporaryDirectory(prefix="bareflow-doctor-") as text:
        folder = Path(text)
        (folder / "x.c").write_text("int f(int a) { return a + 1; }\n", encoding="ascii")
        (folder / "x.img").write_bytes(fat16_image(()))
        (folder / "x.asm").write_text("bits 16\nhlt\n", encoding="ascii")
        try:
            said = _run((path, tool.version), folder)
            _run((path, *tool.job), folder, tool.typed)
        except BareflowError as error:
            return Check(tool.name, FAILS, str(error), f"reinstall {tool.package}")
    found = _VERSION.search(said)
    return Check(tool.name, WORKS, f"{found[0] if found else 'version unknown'}, {path}")


def _run(words: Sequence[str], folder: Path, typed: str = "") -> str:
    """What a program says; raises BareflowError when it does not start or ends badly."""
    try:
        done = subprocess.run(
            words,
            input=typed,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            cwd=folder,
            env=libraries.environment() if words[0] == sys.executable else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BareflowError(f"{words[0]} does not start ({error})") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BareflowError(f"`{shell(*words)}` ends with status {done.returncode} ({last})")
    return done.stdout


def _llvm() -> Check:
    """In a process of its own, as LLVM may abort: the worker compiles something when it starts, and runs something."""
    from bareflow_gdb.recompile.compiler import Compiler

    code = "import llvmlite.binding as b; print(*b.llvm_version_info)"
    try:
        version = _run((sys.executable, "-c", code), Path("/"))
        with Compiler(SECONDS) as compiler:
            compiler.wait_ready()
    except BareflowError as error:
        return Check("LLVM worker", FAILS, f"`recompile` cannot work: {error}", "`make setup` installs llvmlite")
    return Check("LLVM worker", WORKS, f"LLVM {'.'.join(version.split())} in {sys.executable}")


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
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BareflowError(
            f"no file can be made in {folder} ({error.strerror}); set XDG_RUNTIME_DIR to a directory of yours"
        ) from error
    return Check("machine directory", WORKS, str(folder))


def _leftovers() -> Check:
    """What ended or lost machines keep: memory, processes, names."""
    part = "leftovers"
    found = [str(left) for left in leftovers()] + [why for _, why in Machine.damaged()]
    if not found:
        return Check(part, WORKS, "nothing is left of machines that are gone")
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return Check(part, LIMITED, f"{found[0]}{more}", "`bareflow stop --all` ends all machines and cleans up")


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
