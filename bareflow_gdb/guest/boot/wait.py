"""How is a point in the run of a machine's guest waited for, and how is a held guest let go?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, NotReached, Unreachable
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.root import release_hold
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import fatal_of, stage_number, stage_of, was_reached
from bareflow_gdb.guest.boot.foreign import refuse_foreign
from bareflow_gdb.guest.boot.stopped import can_wake, stopped_machine
from bareflow_gdb.guest.code.log_lines import LOOP, boots
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.directory import qemu_messages
from bareflow_gdb.qemu.machine import Machine

POLL_SECONDS = 0.005
SLOW_POLL_SECONDS = 0.5
"""How often it is looked whether the guest can still get there."""


def last_stage(machine: Machine) -> int:
    """The last boot stage that the guest reached, also after its QEMU has ended; 0 before stage 1 ran, or unknown."""
    try:
        with closing(QemuRam(machine.ram_path, writable=False)) as memory:
            return stage_of(memory)
    except BareflowError:
        return 0


def wait_for_stage(machine: Machine, stage: int | str, timeout: float = 60.0) -> None:
    """Waits until the boot record shows `stage` or a later one: a number, "idle", or "BF_STAGE_IDLE".

    Raises NotReached when the time is over, and as soon as the guest cannot get there: the loader gave up, the CPU
    halted for good, the guest reboots in a loop. Unreachable when QEMU ends.
    """
    wanted = stage_number(stage)
    name = word("bf_boot_stage", wanted)
    halted = layouts.const("BF_STAGE_HALTED")
    hopeless = _Hopeless(machine)
    with closing(QemuRam(machine.ram_path, writable=False)) as memory:

        def reached() -> bool:
            now = stage_of(memory)
            if not now:
                instead = f"`bareflow status {machine.name}` shows how far it is"
                refuse_foreign(
                    machine, memory, "whose loader keeps no boot record, so its stages cannot be seen", instead
                )
            if now == halted and wanted != halted and not was_reached(memory, wanted):
                raise NotReached(f"machine {machine.name} halted before stage {name}; {last_words(machine)}")
            if now >= wanted:
                return True
            why = hopeless.why(memory)
            # It may have been reached between the two looks.
            if why and stage_of(memory) < wanted:
                raise NotReached(f"machine {machine.name} cannot reach stage {name}: {why}; {last_words(machine)}")
            return False

        wait(machine, reached, timeout, f"stage {name}")


class _Hopeless:
    """Can the guest still get anywhere?"""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.boots_before = len(boots(machine.serial()))
        self.next_look = 0.0

    def why(self, memory: QemuRam) -> str | None:
        """Why it cannot; None while it can, or when it was looked at a moment ago."""
        if time.monotonic() < self.next_look:
            return None
        self.next_look = time.monotonic() + SLOW_POLL_SECONDS
        return self._rebooting() or self._stopped(memory)

    def _rebooting(self) -> str | None:
        # Resets by hand before the waiting began are not a loop.
        count = len(boots(self.machine.serial()))
        loop = count >= LOOP and count - self.boots_before >= LOOP - 1
        return f"it reboots in a loop, {count} boots so far" if loop else None

    def _stopped(self, memory: QemuRam) -> str | None:
        with suppress(BareflowError):
            if can_wake(self.machine) is False:
                return fatal_of(memory) or "its CPU has halted for good, with interrupts off"
        return None


def wait_for_serial(machine: Machine, text: str, timeout: float = 60.0) -> str:
    """Waits until COM1 has printed `text`; returns all that was printed. Raises like wait_for_stage."""
    wait(machine, lambda: text in machine.serial(), timeout, f"the serial text {text!r}")
    return machine.serial()


def release(machine: Machine, timeout: float = 60.0) -> bool:
    """Lets a guest that was launched with `hold` begin its run; False when it was not held.

    Raises NotReached when it has not registered and does not get there, also for a stopped machine.
    """
    with closing(machine.memory()) as memory:
        refuse_foreign(machine, memory, "which cannot be held", "start it with --paused and let gdb `continue` it")
        if stage_of(memory) < stage_number("registered") and (why := stopped_machine(memory)):
            raise NotReached(f"machine {machine.name} has not reached stage registered, so it is not held yet: {why}")
        wait_for_stage(machine, "registered", timeout)
        return release_hold(memory, find_root(memory).root).before != 0


def wait(machine: Machine, reached: Callable[[], bool], timeout: float, what: str) -> None:
    """Polls until `reached()`; raises NotReached when the time is over, Unreachable when QEMU ends."""
    deadline = time.monotonic() + timeout
    while not reached():
        if not machine.alive():
            # It may have been reached between the two looks.
            if reached():
                return
            raise Unreachable(f"QEMU of machine {machine.name} ended before {what}; {last_words(machine)}")
        if time.monotonic() > deadline:
            raise NotReached(f"machine {machine.name} did not reach {what} within {timeout:g} s; {last_words(machine)}")
        time.sleep(POLL_SECONDS)


def last_words(machine: Machine) -> str:
    """What stands still, the last stage, the last serial line, and what QEMU said."""
    line = machine.last_serial_line()
    last = f"the last serial line is {line!r}" if line else "nothing was printed on the serial line"
    messages = qemu_messages(machine.directory)
    said = f", QEMU said: {messages}" if messages else ""
    why = still(machine)
    return f"{f'{why}; ' if why else ''}the last stage is {word('bf_boot_stage', last_stage(machine))}, {last}{said}"


def still(machine: Machine) -> str:
    """Why the machine stands still though its QEMU runs, as QEMU tells it; "" when it does not."""
    if not machine.alive():
        return ""
    try:
        with closing(machine.memory()) as memory:
            return stopped_machine(memory)
    except BareflowError:
        return ""
