"""How is a point in the run of a machine's guest waited for, and how is a held guest let go?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.root import release_hold
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import stage_number, stage_of
from bareflow_gdb.guest.boot.foreign import refuse_foreign
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.directory import qemu_messages
from bareflow_gdb.qemu.machine import Machine

POLL_SECONDS = 0.005


def last_stage(machine: Machine) -> int:
    """The last boot stage that the guest reached, also after its QEMU has ended; 0 before stage 1 ran."""
    try:
        memory = QemuRam(machine.ram_path, writable=False)
    except Unreachable:
        return 0
    with closing(memory):
        return stage_of(memory)


def wait_for_stage(machine: Machine, stage: int | str, timeout: float = 60.0) -> None:
    """Waits until the boot record shows `stage` or a later one: a number, "idle", or "BF_STAGE_IDLE".

    Raises BareflowError when the time is over or the guest halts on the way, Unreachable when QEMU ends.
    """
    wanted = stage_number(stage)
    name = word("bf_boot_stage", wanted)
    halted = layouts.const("BF_STAGE_HALTED")
    with closing(QemuRam(machine.ram_path, writable=False)) as memory:

        def reached() -> bool:
            now = stage_of(memory)
            if not now:
                instead = f"`bareflow status {machine.name}` shows how far it is"
                refuse_foreign(
                    machine, memory, "whose loader keeps no boot record, so its stages cannot be seen", instead
                )
            if now == halted and wanted != halted:
                raise BareflowError(f"machine {machine.name} halted before stage {name}; {last_words(machine)}")
            return now >= wanted

        wait(machine, reached, timeout, f"stage {name}")


def wait_for_serial(machine: Machine, text: str, timeout: float = 60.0) -> str:
    """Waits until COM1 has printed `text`; returns all that was printed. Raises like wait_for_stage."""
    wait(machine, lambda: text in machine.serial(), timeout, f"the serial text {text!r}")
    return machine.serial()


def release(machine: Machine, timeout: float = 60.0) -> bool:
    """Lets a guest that was launched with `hold` begin its run; False when it was not held."""
    with closing(machine.memory()) as memory:
        refuse_foreign(machine, memory, "which cannot be held", "start it with --paused and let gdb `continue` it")
        wait_for_stage(machine, "registered", timeout)
        return release_hold(memory, find_root(memory).root).before != 0


def wait(machine: Machine, reached: Callable[[], bool], timeout: float, what: str) -> None:
    """Polls until `reached()`; raises BareflowError when the time is over, Unreachable when QEMU ends."""
    deadline = time.monotonic() + timeout
    while not reached():
        if not machine.alive():
            # It may have been reached between the two looks.
            if reached():
                return
            raise Unreachable(f"QEMU of machine {machine.name} ended before {what}; {last_words(machine)}")
        if time.monotonic() > deadline:
            raise BareflowError(
                f"machine {machine.name} did not reach {what} within {timeout:g} s; {last_words(machine)}"
            )
        time.sleep(POLL_SECONDS)


def last_words(machine: Machine) -> str:
    """The last stage, the last serial line, and what QEMU said."""
    lines = [line.strip() for line in machine.serial().splitlines() if line.strip()]
    last = f"the last serial line is {lines[-1]!r}" if lines else "nothing was printed on the serial line"
    messages = qemu_messages(machine.directory)
    said = f", QEMU said: {messages}" if messages else ""
    return f"the last stage is {word('bf_boot_stage', last_stage(machine))}, {last}{said}"
