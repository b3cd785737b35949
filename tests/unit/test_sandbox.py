"""LLVM's process can compute and end, and nothing else: no file, network, program or other process is in its reach."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, os, resource, signal, socket, sys, time
from bareflow_gdb.recompile import sandbox
victim, parent = sys.argv[1], os.getppid()
libc = ctypes.CDLL(None, use_errno=True)
assert sandbox.enter()
def int_0x80():
    # getpid by the other door
    import mmap
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(bytes.fromhex("b814000000cd80c3"))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if result == -1:
        raise PermissionError
    print("int 0x80 gave", result)
for name, attempt in {
    "open": lambda: open(victim),
    "unlink": lambda: os.unlink(victim),
    "rename": lambda: os.rename(victim, victim + "2"),
    "chmod": lambda: os.chmod(victim, 0),
    "socket": socket.socket,
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(parent, 0),
    "signal": lambda: os.kill(os.getpid(), 0),
    "others' limits": lambda: resource.prlimit(parent, resource.RLIMIT_CORE),
    "mkdir": lambda: os.mkdir(victim + "d"),
    "int 0x80": int_0x80,
}.items():
    try:
        attempt()
    except OSError:
        continue
    print(name, "was possible")
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.prlimit(0, resource.RLIMIT_CPU)
bytearray(64 << 20)
time.perf_counter()
print("computed", flush=True)
os.abort()
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86-64")
def test_it_can_compute_and_die_and_nothing_else(tmp_path: Path) -> None:
    victim = tmp_path / "file"
    victim.write_text("here")
    done = subprocess.run([sys.executable, "-c", PROGRAM, victim], capture_output=True, text=True, check=False)
    assert done.stdout == "computed\n", done.stdout + done.stderr
    assert done.returncode == -6, done.stderr
    assert victim.read_text() == "here"
