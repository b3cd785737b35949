"""What tests of machines share: types of the fixtures, and waiting for what runs beside the test.

A state of a guest, a gdb, a file or a child process is waited for, never looked at once: on a busy machine it comes
late. The deadline ends a test that would hang; no claim depends on it.
"""

from __future__ import annotations

import fcntl
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
Asked = Callable[..., tuple[int, str]]
Assemble = Callable[[str], Path]
T = TypeVar("T")
SECONDS = 300.0
QUICK = (10, 20, 30)
"""Thresholds at which a run takes little time."""


def wait_for(condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """The first true value of `condition`; fails the test, saying what did not come, when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.005)
    return value


def unread(pid: int) -> int:
    """How many bytes wait in the pipe that is this process's standard input?"""
    with Path(f"/proc/{pid}/fd/0").open("rb", buffering=0) as pipe:
        return int(struct.unpack("I", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


def halted(machine: Machine) -> bool:
    """Has the CPU executed `hlt`, with nothing to wake it at this moment?"""
    return "HLT=1" in machine.monitor("info registers")


def wait_for_halt(machine: Machine) -> None:
    """A stock kernel's last halt: what it prints last comes before, so the text alone does not tell."""
    wait_for(lambda: halted(machine), "the halt")


def pause_at_rest(machine: Machine) -> None:
    """Pauses the guest where its idle loop sleeps, and not by chance in an interrupt."""

    def at_rest() -> bool:
        machine.pause()
        if halted(machine):
            return True
        machine.resume()
        return False

    wait_for(at_rest, "the idle loop to sleep")
