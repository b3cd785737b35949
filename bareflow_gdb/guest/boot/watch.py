"""What becomes of a machine that is started: does it get there, halt, go on for ever, or reset itself, and why?

QEMU stands still where the guest would be reset, its memory and registers as they were, and its log of exceptions tells
how it came there.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.boot.boot_code import is_bios
from bareflow_gdb.guest.boot.stopped import can_wake
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.machine import Machine

ARRIVED, HALTED, RESET, LOOPS, RUNS = "arrived", "halted", "reset", "loops", "runs"
POLL_SECONDS = 0.1
QUIET_SECONDS = 2.0
"""So long nothing is printed by a guest that waits for interrupts, before it counts as arrived."""
SILENT_LOOKS = 30
"""So many looks at a kernel that runs without a word on COM1, before nothing more is expected of it. One that keeps a
boot record prints its first line at once, and may be silent later."""
FLOOD_SECONDS = 6.0
"""Less than this for 16 MiB of QEMU's log are 2,000 interrupts and exceptions a second and more: nothing else runs."""
LOOKS, LOOK_SECONDS = 12, 0.05
SAME_LOOKS, SAME_STATES = 20, 4
"""So many looks that find no more than so many states of the registers show a loop that computes nothing."""
ASTRAY_LOOKS = 8
"""So many looks in a row that find the CPU where there is no memory: nothing leads back from there."""
_LOG = "exceptions.log"
_LOG_MOST = 16 << 20
_SHOWN = 8
# target/i386: `check_exception` comes before an exception, never before an interrupt; then its number and its place.
_TAKEN = re.compile(
    rb"^check_exception[^\n]*\n *\d+: v=([0-9a-f]{2}) e=([0-9a-f]{4}) [^\n]*? pc=([0-9a-f]{8})", re.MULTILINE
)
_TRIPLE_FAULT = b"\nTriple fault"


@dataclass(frozen=True)
class Taken:
    """An exception as QEMU took it."""

    vector: int
    error_code: int
    eip: Address
    """The linear address of the instruction."""


@dataclass(frozen=True)
class Watched:
    """How a start went."""

    ending: str
    """"arrived" (its last stage, or waiting for interrupts), "halted" (for good), "reset", "loops" (computing nothing),
    or "runs" when the time was over."""
    seconds: float
    exceptions: int
    """How many the CPU took, as far back as the log goes."""
    taken: tuple[Taken, ...]
    """The last of them, oldest first."""
    triple_fault: bool
    """Was the last of them one that could not be delivered, nor the one after that?"""
    eips: tuple[Address, ...]
    """Where the CPU was in several looks at one that loops or runs."""


def watch(machine: Machine, timeout: float) -> Watched:
    """Lets a machine that was launched `paused` run until it gets nowhere further, or for `timeout` seconds.

    It gets nowhere when it waits for an interrupt, has halted, is reset, comes by the same few states of all its
    registers again and again, or runs where there is no memory.

    Afterwards one that was reset is stopped at the fault; others run on. Raises Unreachable when QEMU ends.
    """
    # Not a reset that is counted: the machine stands where it happened.
    machine.qmp("set-action", reboot="shutdown", shutdown="pause")
    log = machine.directory / _LOG
    machine.monitor(f'logfile "{log}"')
    machine.monitor("log int,cpu_reset")
    began = time.monotonic()
    machine.resume()
    ending = _ending(machine, log, began + timeout)
    seconds = time.monotonic() - began
    machine.monitor("log none")
    eips = tuple(_looks(machine)) if ending in (LOOPS, RUNS) else ()
    text = _end_of(log)
    found = [Taken(int(vector, 16), int(code, 16), Address(int(pc, 16))) for vector, code, pc in _TAKEN.findall(text)]
    return Watched(ending, round(seconds, 1), len(found), tuple(found[-_SHOWN:]), _TRIPLE_FAULT in text, eips)


def _ending(machine: Machine, log: Path, deadline: float) -> str:
    last = {layouts.const("BF_STAGE_IDLE"): ARRIVED, layouts.const("BF_STAGE_HALTED"): HALTED}
    printed, quiet_since = 0, time.monotonic()
    states: deque[tuple[int, ...] | None] = deque(maxlen=SAME_LOOKS)
    silent = astray = 0
    log_began = time.monotonic()
    with closing(QemuRam(machine.ram_path, writable=False)) as memory:
        while (now := time.monotonic()) < deadline:
            if machine.status() == "shutdown":
                return RESET
            if stage_of(memory) in last:
                return last[stage_of(memory)]
            if len(machine.serial()) != printed:
                printed, quiet_since, silent = len(machine.serial()), now, 0
            wakes = can_wake(machine)
            if wakes is False:
                return HALTED
            if wakes and now - quiet_since > QUIET_SECONDS:
                return ARRIVED
            # One that sleeps until an interrupt comes is in no loop, though its registers stay the same.
            cpu = None if wakes else _registers(machine)
            states.append(None if cpu is None else tuple(cpu.general.values()))
            astray = astray + 1 if cpu is not None and cpu.linear_eip >= memory.ranges[-1][1] else 0
            if astray >= ASTRAY_LOOKS:
                return RUNS
            if len(states) == SAME_LOOKS and len(set(states)) <= SAME_STATES and None not in states:
                return LOOPS
            silent += states[-1] is not None
            computes = len(set(states)) > SAME_LOOKS // 2
            if computes and silent >= SILENT_LOOKS and not (printed and stage_of(memory)):
                return RUNS
            if log.stat().st_size > _LOG_MOST:
                if now - log_began < FLOOD_SECONDS:
                    return RUNS
                log_began = now
                # The file that is written next begins anew.
                machine.monitor("log none")
                log.unlink()
                machine.monitor(f'logfile "{log}"')
                machine.monitor("log int,cpu_reset")
            time.sleep(POLL_SECONDS)
    return RUNS


def _registers(machine: Machine) -> CpuRegisters | None:
    """None while they cannot be told, or the BIOS runs, which may wait for a disk."""
    try:
        with closing(machine.memory()) as memory:
            cpu = memory.cpu()
    except BareflowError:
        return None
    return None if is_bios(cpu.linear_eip) else cpu


def _looks(machine: Machine) -> Iterator[Address]:
    with closing(machine.memory()) as memory:
        for _ in range(LOOKS):
            try:
                yield Address(memory.cpu().linear_eip)
            except BareflowError:
                return
            time.sleep(LOOK_SECONDS)


def _end_of(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_MOST))
            return file.read(_LOG_MOST)
    except OSError:
        return b""
