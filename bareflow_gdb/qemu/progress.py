"""How far has the guest of a machine come, and how is a point of it waited for?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, ReadError, Unreachable, UsageError
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.memory.qemu_ram import QemuRam

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine

POLL_SECONDS = 0.005
MESSAGE_CHARACTERS = 500


def stage_number(stage: int | str) -> int:
    """The number of a boot stage given as a number, "idle" or "BF_STAGE_IDLE"; raises UsageError."""
    if isinstance(stage, int):
        return stage
    names = layouts.enum_values("bf_boot_stage")
    found = names.get(stage, names.get(f"BF_STAGE_{stage.upper()}"))
    if found is None:
        words = ", ".join(stage_word(value) for value in names.values())
        raise UsageError(f"there is no boot stage {stage!r}; the stages are {words}")
    return found


def stage_word(stage: int) -> str:
    """ "idle" for BF_STAGE_IDLE."""
    return layouts.enum_name("bf_boot_stage", stage).removeprefix("BF_STAGE_").lower()


def stage_of(memory: Memory) -> int:
    """The last stage in the boot record, 0 when there is no record yet."""
    size = layouts.size("bf_boot_record")
    record = layouts.unpack("bf_boot_record", memory.read(_record_address(), size, "boot record"))
    return int(record.stage) if record.magic == layouts.const("BF_BOOT_MAGIC") else 0


def stage(machine: Machine) -> int:
    """The last stage of this machine, also after its QEMU has ended."""
    try:
        memory = QemuRam(machine.ram_path, writable=False)
    except Unreachable:
        return 0
    try:
        return stage_of(memory)
    finally:
        memory.close()


def wait_for_stage(machine: Machine, stage: int | str, timeout: float) -> None:
    """See Machine.wait_for_stage."""
    wanted = stage_number(stage)
    halted = layouts.const("BF_STAGE_HALTED")
    memory = QemuRam(machine.ram_path, writable=False)

    def reached() -> bool:
        now = stage_of(memory)
        if now == halted and wanted != halted:
            raise BareflowError(
                f"machine {machine.name} halted before stage {stage_word(wanted)}; {last_words(machine)}"
            )
        return now >= wanted

    try:
        wait(machine, reached, timeout, f"stage {stage_word(wanted)}")
    finally:
        memory.close()


def wait_for_serial(machine: Machine, text: str, timeout: float) -> str:
    """See Machine.wait_for_serial."""
    wait(machine, lambda: text in machine.serial(), timeout, f"the serial text {text!r}")
    return machine.serial()


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
    messages = qemu_messages(machine.directory / "qemu.log")
    said = f", QEMU said: {messages}" if messages else ""
    return f"the last stage is {stage_word(stage(machine))}, {last}{said}"


def qemu_messages(log: Path) -> str:
    """QEMU's own messages, on one line."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-MESSAGE_CHARACTERS:]


def release(machine: Machine, timeout: float) -> bool:
    """Clears the root descriptor's `hold`; False when the guest was not held."""
    wait_for_stage(machine, "registered", timeout)
    memory = machine.memory()
    try:
        at = layouts.const("BF_IMAGE_BASE") + layouts.offset("bf_image_header", "root")
        root = int.from_bytes(memory.read(at, 4, "image header"), "little")
        magic = memory.read(root, 16, "root descriptor")
        if magic != b"".join(layouts.const(f"BF_ROOT_MAGIC{n}").to_bytes(4, "little") for n in range(4)):
            raise ReadError(
                root, 16, "root descriptor", "its magic is not there; is this a BareFlow kernel of ours?"
            )
        hold = root + layouts.offset("bf_root", "hold")
        held = memory.read(hold, 4, "hold word") != bytes(4)
        memory.write(hold, bytes(4), "hold word")
    finally:
        memory.close()
    return held


def _record_address() -> int:
    return layouts.const("BF_BOOT_RECORD_ADDRESS")
