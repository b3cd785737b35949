"""Reads the RAM of a QEMU that others started: inside its process, through /proc/PID/mem, guest not stopped.

Needs the right to trace the process (same user, and Yama's ptrace_scope permitting). The guest's RAM is one
of the process's mappings; it is recognised by what a booted machine has at fixed addresses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.memory.protocol import KERNEL_BASES, CheckedMemory, ram_ranges

if TYPE_CHECKING:
    from bareflow_gdb.memory.gdbstub import GdbStub

T = TypeVar("T")

# QEMU aligns guest RAM so that the host can use large pages.
ALIGNMENT = 2 << 20
SMALLEST_RAM = 1 << 20
DEFAULT_RAM = 128 << 20
SIZES = {"": 1 << 20, "M": 1 << 20, "G": 1 << 30, "K": 1 << 10, "B": 1}


class ProcessRam(CheckedMemory):
    """RAM of the QEMU process `pid`. Raises Unreachable when it may not be read or is not recognised."""

    name = "QEMU process"
    live = True

    def __init__(self, pid: int, stub: Callable[[], GdbStub] | None = None) -> None:
        """`stub` connects to the process's gdbstub, for what is not in its memory."""
        self.pid = pid
        self._stub = stub
        self.asking_stops = stub is not None
        self._no_stub: BareflowError | None = None
        try:
            self._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR)
        except OSError as error:
            raise Unreachable(f"the memory of process {pid} may not be read ({error.strerror})") from error
        try:
            self._base, size = self._find(_ram_bytes(pid))
        except BareflowError:
            os.close(self._memory)
            raise
        super().__init__(ram_ranges(size))

    def _find(self, size: int) -> tuple[int, int]:
        found = [base for base in _candidates(self.pid, size) if self._is_guest(base)]
        if len(found) != 1:
            raise Unreachable(f"process {self.pid} has {len(found)} mappings that look like a booted guest's RAM")
        return found[0], size

    def _is_guest(self, base: int) -> bool:
        """A kernel image at its address, or a boot record."""
        marks = (
            *((base, layouts.const("BF_FLUD_MAGIC")) for base in KERNEL_BASES),
            (layouts.const("BF_BOOT_RECORD_ADDRESS"), layouts.const("BF_BOOT_MAGIC")),
        )
        try:
            return any(os.pread(self._memory, 4, base + at) == value.to_bytes(4, "little") for at, value in marks)
        except OSError:
            return False

    def _fetch(self, address: int, size: int) -> bytes:
        try:
            data = os.pread(self._memory, size, self._base + address)
        except OSError as error:
            raise Unreachable(f"QEMU (process {self.pid}) cannot be read ({error.strerror}); is it gone?") from error
        if not data:
            raise Unreachable(f"QEMU (process {self.pid}) is gone")
        return data

    def _store(self, address: int, data: bytes) -> None:
        if os.pwrite(self._memory, data, self._base + address) != len(data):
            raise Unreachable(f"QEMU (process {self.pid}) is gone")

    def screen(self) -> bytes:
        return self._by_stub(lambda stub: stub.screen()) if self._stub is not None else super().screen()

    def monitor(self, command: str) -> str:
        return self._by_stub(lambda stub: stub.monitor(command)) if self._stub is not None else super().monitor(command)

    def _by_stub(self, ask: Callable[[GdbStub], T]) -> T:
        """Stops the guest for one question; a stub that does not answer is not waited for again."""
        assert self._stub is not None
        if self._no_stub is not None:
            raise self._no_stub
        try:
            with self._stub() as stub:
                return ask(stub)
        except BareflowError as error:
            self._no_stub = error
            raise

    def standing(self) -> GdbStub:
        """The same guest through its gdbstub, at which it stands still until that is closed. Raises Unreachable."""
        if self._stub is None:
            raise Unreachable(f"process {self.pid} has no gdbstub to stop it at; start QEMU with -gdb")
        return self._stub()

    @property
    def serial_path(self) -> Path | None:
        """The file that QEMU writes COM1 to, as its command line says; None = to none."""
        try:
            words = _command_line(self.pid)
        except BareflowError:
            return None
        options = list(pairwise(words))
        first = next((after for word, after in options if word.lstrip("-") == "serial"), "")
        kind, _, rest = first.partition(":")
        if kind == "chardev":
            devices = [after.split(",") for word, after in options if word.lstrip("-") == "chardev"]
            device = next((parts for parts in devices if f"id={rest}" in parts), [""])
            kind = device[0]
            rest = next((part.removeprefix("path=") for part in device if part.startswith("path=")), "")
        # A relative one counts from where QEMU was started.
        return Path(f"/proc/{self.pid}/cwd") / rest if kind == "file" and rest else None

    def close(self) -> None:
        """Gives the process's memory back."""
        os.close(self._memory)


def _candidates(pid: int, size: int) -> Iterator[int]:
    """Where a writable mapping may hold `size` bytes of RAM: at its start, at each aligned address."""
    try:
        lines = os.fsdecode(Path(f"/proc/{pid}/maps").read_bytes()).splitlines()
    except OSError as error:
        raise Unreachable(f"the mappings of process {pid} may not be read ({error.strerror})") from error
    for line in lines:
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights.startswith("rw"):
            first = -(-start // ALIGNMENT) * ALIGNMENT
            yield from sorted({start, *range(first, end - size + 1, ALIGNMENT)} if end - start >= size else ())


def _ram_bytes(pid: int) -> int:
    """What QEMU's command line says with -m; without it QEMU's default for a PC."""
    words = _command_line(pid)
    if not Path(words[0]).name.startswith("qemu-system-"):
        raise Unreachable(f"process {pid} is not QEMU but {Path(words[0]).name}")
    text = next((after for word, after in pairwise(words) if word == "-m"), None)
    if text is None:
        return DEFAULT_RAM
    match = re.match(r"(?:size=)?(\d+)([KMGB]?)", text.upper().replace("SIZE=", "size="))
    if match is None:
        raise Unreachable(f"process {pid} has RAM of {text}, which is not understood")
    return max(int(match[1]) * SIZES[match[2]], SMALLEST_RAM)


def _command_line(pid: int) -> list[str]:
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    except OSError as error:
        raise Unreachable(f"process {pid} is gone") from error
