"""What is true of a stock kernel, without the suite's decoders: by nm, objdump, its twin's types and raw memory."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from machines import SECONDS, halted, wait_for

from bareflow_gdb.memory.remote_serial import Line
from bareflow_gdb.qemu.machine import Machine


def protected(machine: Machine) -> bool:
    found = re.search(r"CR0=([0-9a-f]+)", machine.monitor("info registers"))
    return found is not None and bool(int(found[1], 16) & 1)


def register(machine: Machine, name: str) -> int:
    found = re.search(rf"\b{name}=([0-9a-f]+)", machine.monitor("info registers"))
    assert found is not None
    return int(found[1], 16)


def words(machine: Machine, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}I", machine.read_physical(address, 4 * count))


@cache
def nm(elf: Path) -> dict[str, tuple[int, int, str]]:
    """Address, size and type of each symbol."""
    text = subprocess.run(["nm", "-S", str(elf)], capture_output=True, text=True, check=True).stdout
    found = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 4:
            found[parts[3]] = (int(parts[0], 16), int(parts[1], 16), parts[2])
        elif len(parts) == 3 and parts[1] != "U":
            found[parts[2]] = (int(parts[0], 16), 0, parts[1])
    return found


def function_at(elf: Path, address: int) -> str:
    """The function that the address is in; of those without a size, as assembly has them, the one before it."""
    code = [(start, size, name) for name, (start, size, kind) in nm(elf).items() if kind in "tT" and start <= address]
    start, size, name = max(code, default=(0, 1, ""))
    return name if not size or address < start + size else ""


@cache
def calls_of(elf: Path) -> dict[int, str]:
    """The return address of every call in the kernel's code, with the function that the call is in, by objdump."""
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    found: dict[int, str] = {}
    function, call = "", False
    for line in text.splitlines():
        if label := re.match(r"^[0-9a-f]+ <(.+)>:$", line):
            # A call that is a function's last instruction still returns behind itself.
            after, function = function, label[1]
            if call:
                found[int(line.split()[0], 16)] = after
            call = False
        elif code := re.match(r"^ *([0-9a-f]+):\t(\S+)", line):
            if call:
                found[int(code[1], 16)] = function
            call = code[2].startswith("call")
    return found


def section(elf: Path, name: str) -> tuple[int, int]:
    """First address and end of a section, by readelf."""
    text = subprocess.run(["readelf", "-SW", str(elf)], capture_output=True, text=True, check=True).stdout
    found = re.search(rf" {re.escape(name)} +\w+ +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+)", text)
    assert found is not None
    return int(found[1], 16), int(found[1], 16) + int(found[2], 16)


def pool_words(machine: Machine, elf: Path) -> list[tuple[int, ...]]:
    """The three `memory_pool_t` as words: base, size, list, total, used, free, allocations, frees, peak, ….."""
    data = words(machine, nm(elf)["g_pools"][0], 33)
    return [data[index : index + 11] for index in (0, 11, 22)]


_FIELDS = {
    "entry": "functions[0]",
    "slot": "functions[0].current_code",
    "level": "functions[0].compiled_level",
    "count": "function_count",
    "calls": "profiler.functions[0].call_count",
}


@cache
def jit_offsets(twin: Path) -> dict[str, int]:
    """Offsets in `adaptive_jit_t`, by the debug information of the stock kernel's twin."""
    asked = [word for field in _FIELDS.values() for word in ("-ex", f"print/d (int)&((adaptive_jit_t *)0)->{field}")]
    command = ["/usr/bin/gdb", "-nx", "-batch", str(twin), *asked]
    text = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    return dict(zip(_FIELDS, map(int, re.findall(r"= (\d+)", text)), strict=True))


_PROFILE_ENTRIES, _PROFILE_ENTRY = 32, 76
"""`jit_profile_t`: so many entries of so many bytes, a name of 32 bytes first in each; then the count."""


@dataclass(frozen=True)
class RawJit:
    """The first function of the adaptive JIT, as its words say."""

    slot: int
    codes: tuple[int, ...]
    current: int
    level: int
    calls: int


class Walk:
    """A paused machine taken from moment to moment by its gdbstub, without gdb."""

    def __init__(self, machine: Machine, elf: Path, twin: Path, line: Line) -> None:
        self.machine, self.elf = machine, elf
        self._line, self._at = line, jit_offsets(twin)
        self.jit = 0
        """Where the adaptive JIT or the profile is, caught as an argument; 0 = not yet."""

    def to(self, address: int, kind: int = 1) -> None:
        """Runs to the next execution of an address (1), or to the next store there (2)."""
        length = 4 if kind == 2 else 1
        assert self._line.command(f"Z{kind},{address:x},{length}") == "OK"
        assert self._line.command("c").startswith("T05")
        assert self._line.command(f"z{kind},{address:x},{length}") == "OK"

    def moments(self, base: int) -> Iterator[str]:
        """Before the tables exist, before the swap, at its store, after it, at the end of the run."""
        self.to(base + 4)
        yield "early"
        execute = nm(self.elf)["adaptive_jit_execute"][0]
        self.to(execute)
        (self.jit,) = words(self.machine, register(self.machine, "ESP") + 4, 1)
        yield "before"
        self.to(self.jit + self._at["slot"], 2)
        yield "at"
        self.to(execute)
        yield "after"
        self._line.command("D")
        wait_for(lambda: halted(self.machine) and protected(self.machine), "the halt", SECONDS)
        yield "halted"

    def profile_moments(self, base: int) -> Iterator[str]:
        """Of a kernel that only measures: before its record, without a function, in the first call, between calls, at
        the end."""
        shift = base + 4 - nm(self.elf)["_start"][0]
        begin, end = (nm(self.elf)[f"jit_profile_{name}"][0] + shift for name in ("begin", "end"))
        self.to(base + 4)
        yield "early"
        self.to(begin)
        (self.jit,) = words(self.machine, register(self.machine, "ESP") + 4, 1)
        yield "empty"
        self.to(end)
        yield "within"
        for _ in range(3):
            self.to(begin)
        yield "between"
        self._line.command("D")
        wait_for(lambda: halted(self.machine) and protected(self.machine), "the halt", SECONDS)
        yield "halted"

    def raw_profile(self) -> list[tuple[int, int, int, int]]:
        """Calls and total, least and most cycles of each function of `jit_profile_t`, by its words."""
        (count,) = words(self.machine, self.jit + _PROFILE_ENTRIES * _PROFILE_ENTRY, 1)
        entries = [self.machine.read_physical(self.jit + _PROFILE_ENTRY * at + 32, 32) for at in range(count)]
        return [struct.unpack("<4Q", entry) for entry in entries]

    def raw_jit(self) -> RawJit:
        entry = words(self.machine, self.jit + self._at["entry"], 6)
        (level,) = words(self.machine, self.jit + self._at["level"], 1)
        (calls,) = words(self.machine, self.jit + self._at["calls"], 1)
        return RawJit(self.jit + self._at["slot"], entry[1:5], entry[5], level, calls)


@contextmanager
def walked(machine: Machine, elf: Path, twin: Path) -> Iterator[Walk]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(machine.gdb_socket))
        yield Walk(machine, elf, twin, Line(connection, "the stub", SECONDS))
