"""How far did the boot get, what was loaded, and what was wrong?

Read budget: 1 packet for the record (192 bytes), 1 for the clock, 1 for the model. Works before there is a kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError, UsageError
from bareflow_gdb.guest.base.absent import NOT_YET, Absent
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, Word, milliseconds, word
from bareflow_gdb.guest.boot.model_load import model_words
from bareflow_gdb.memory.protocol import Memory

_FATAL_WORDS = {
    0x51: "the image in memory does not begin with FLUD: write the kernel to sector 9 of the disk image",
    0xA2: "no method turned the A20 line on: try another machine or firmware",
    0xD1: "the BIOS could not read the disk: `boot` shows the drive and how it was read",
    0xD2: "the image failed verification: its CRC is wrong, or the loader cannot hold it; rebuild the image",
    0xE0: "there is no kernel on the disk: write the kernel image to sector 9",
}

_STAGE_WORDS = {
    1: "stage 1 runs",
    2: "stage 2 runs",
    3: "A20 is on",
    4: "the first image sector is in memory",
    5: "the whole image is in memory",
    6: "the image's CRC is right",
    7: "protected mode",
    8: "the kernel's first instruction ran",
    9: "serial, VGA, IDT and heap are up",
    10: "the JIT pools are up",
    11: "modules are loaded and tested",
    12: "functions are registered",
    13: "the run has begun",
    14: "the run has ended, the mailbox is served",
    15: "stopped for good",
}
_APPLICATION_WORDS = {14: "the application has returned", 15: "halted, as an application is that is done"}


@dataclass(frozen=True)
class BootStage:
    """One stage of `enum bf_boot_stage`."""

    number: int
    name: str
    meaning: str
    reached: bool
    tsc: int
    """TSC when it was reached, 0 = not reached."""
    ms: float | None
    """Milliseconds since stage 1; None when not reached or when the clock is not measured yet."""


@dataclass(frozen=True)
class Boot:
    """`struct bf_boot_record` of bareflow.h."""

    stage: str
    stage_number: int
    stages: tuple[BootStage, ...]
    ok: bool
    """The kernel runs, or its application is done, and nothing in the record is wrong."""
    fatal: str
    fatal_code: int
    drive: int
    disk_method: str
    a20_method: str
    sectors_needed: int
    sectors_asked: int
    sectors_read: int
    load_address: Address
    memory_kib: int
    """Memory above 1 MiB, KiB."""
    signature: Word
    """The u32 seen at the load address."""
    crc_expected: Word
    crc_computed: Word
    bios_status: int
    tsc_hz: int
    """0 = not measured yet."""
    problems: tuple[str, ...]
    model: str = ""
    """How it stands with the language model of the second disk; "" = there is no such disk, or this is not told."""
    done: bool = False
    """Halted because it is an application that has returned."""


def stage_of(memory: Memory) -> int:
    """The last stage reached, 0 when there is no boot record yet, or it lies outside of what this memory holds."""
    try:
        raw = one(memory, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"), "boot record")
    except ReadError:
        return 0
    return int(raw.stage) if raw.magic == layouts.const("BF_BOOT_MAGIC") else 0


def rings_are_up(memory: Memory) -> bool:
    """Has the boot set the event rings up? Before that they are, after a reset, those of the boot before."""
    return not 0 < stage_of(memory) < layouts.const("BF_STAGE_POOLS")


def need_rings(memory: Memory) -> None:
    """Raises Absent before the boot has set the event rings up."""
    if not rings_are_up(memory):
        raise Absent("event ring", NOT_YET, f"the boot is at stage {word('bf_boot_stage', stage_of(memory))}")


def was_reached(memory: Memory, stage: int) -> bool:
    """Has the guest come to this stage, whatever came after it?"""
    raw = one(memory, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"), "boot record")
    return raw.magic == layouts.const("BF_BOOT_MAGIC") and bool(raw.stage_tsc[stage])


def fatal_of(memory: Memory) -> str | None:
    """Why the loader gave up; None when it did not, or there is no boot record yet."""
    raw = one(memory, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"), "boot record")
    return gave_up(raw.fatal) if raw.magic == layouts.const("BF_BOOT_MAGIC") and raw.fatal else None


def stage_number(stage: int | str) -> int:
    """The number of a boot stage given as a number, "idle" or "BF_STAGE_IDLE"; raises UsageError."""
    if isinstance(stage, int):
        return stage
    names = layouts.enum_values("bf_boot_stage")
    found = names.get(stage, names.get(f"BF_STAGE_{stage.upper()}"))
    if found is None:
        words = ", ".join(word("bf_boot_stage", value) for value in names.values())
        raise UsageError(f"there is no boot stage {stage!r}; the stages are {words}")
    return found


def read_boot(memory: Memory, root: Root | None, tsc_hz: int = 0) -> Boot:
    """Raises BadData when there is no boot record, ReadError when memory cannot be read."""
    address = root.boot_record if root and root.boot_record else layouts.const("BF_BOOT_RECORD_ADDRESS")
    raw = one(memory, "bf_boot_record", address, "boot record")
    if raw.magic != layouts.const("BF_BOOT_MAGIC"):
        raise BadData(
            f"there is no boot record at 0x{address:08x}: stage 1 did not run, or this loader writes none; "
            "check that the disk image starts with this project's boot sector"
        )
    application = root is not None and root.variant == "unikernel"
    done = application and raw.stage == layouts.const("BF_STAGE_HALTED") and _returned(raw)
    model, wrong = model_words(memory, root)
    problems = (*_problems(raw, done), *([wrong] if wrong else []))
    return filled(
        Boot,
        raw,
        stage=word("bf_boot_stage", raw.stage),
        stage_number=raw.stage,
        stages=tuple(_stage(raw, number, tsc_hz, application) for number in range(1, len(raw.stage_tsc))),
        ok=not problems and raw.stage >= layouts.const("BF_STAGE_KERNEL"),
        fatal=word("bf_fatal", raw.fatal),
        fatal_code=raw.fatal,
        disk_method=word("bf_disk_method", raw.disk_method),
        a20_method=word("bf_a20_method", raw.a20_method),
        tsc_hz=tsc_hz,
        problems=problems,
        model=model,
        done=done,
    )


def _returned(raw: Any) -> bool:
    return not raw.fatal and bool(raw.stage_tsc[layouts.const("BF_STAGE_IDLE")])


def _stage(raw: Any, number: int, tsc_hz: int, application: bool) -> BootStage:
    tsc = raw.stage_tsc[number]
    start = raw.stage_tsc[1]
    return BootStage(
        number=number,
        name=word("bf_boot_stage", number),
        meaning=(_STAGE_WORDS | (_APPLICATION_WORDS if application else {})).get(number, ""),
        reached=tsc != 0,
        tsc=tsc,
        ms=milliseconds(tsc - start, tsc_hz) if tsc and start else None,
    )


def gave_up(fatal: int) -> str:
    """What a loader's code means, in a sentence."""
    meaning = _FATAL_WORDS.get(fatal, "a code that this suite does not know")
    return f"the loader gave up with FATAL ERROR: 0x{fatal:02X}: {meaning}"


def _problems(raw: Any, done: bool) -> list[str]:
    stage, const = raw.stage, layouts.const
    found: list[str] = []
    if raw.fatal:
        found.append(gave_up(raw.fatal))
    if raw.fatal == const("BF_FATAL_DISK") and raw.bios_status:
        found.append(f"the last disk read failed with BIOS status 0x{raw.bios_status:02x}")
    if stage >= const("BF_STAGE_HEADER") and raw.signature != const("BF_FLUD_MAGIC"):
        found.append(f"the signature at 0x{raw.load_address:08x} is 0x{raw.signature:08x}, not FLUD")
    if raw.sectors_needed > const("BF_IMAGE_MAX_SECTORS"):
        found.append(
            f"the image needs {raw.sectors_needed:,} sectors, the loader holds "
            f"{const('BF_IMAGE_MAX_SECTORS'):,}: make the kernel smaller"
        )
    if stage >= const("BF_STAGE_LOADED") and raw.sectors_read < raw.sectors_needed:
        found.append(
            f"{raw.sectors_read:,} of {raw.sectors_needed:,} sectors were read: the end of the kernel is missing"
        )
    verified = stage >= const("BF_STAGE_VERIFIED") or raw.fatal == const("BF_FATAL_VERIFY")
    if verified and raw.crc_expected != raw.crc_computed:
        found.append(f"the image's CRC is 0x{raw.crc_computed:08x}, its header says 0x{raw.crc_expected:08x}")
    if stage == const("BF_STAGE_HALTED") and not raw.fatal and not done:
        found.append("the guest has stopped for good: `exception` or the end of `log` says why")
    return found
