"""Which boot stages were reached, what was loaded, what failed?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.absent import NONE
from bareflow_gdb.questions.question import Context, Options, Question
from bareflow_gdb.render.view import Cell, View, address, facts, number, spoken, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.boot.foreign_boot import ForeignBoot, LoadedPart

_UNKNOWN = Cell("not known yet", "dim")
"""What the loader has not come to."""


def _ask(context: Context, _: Options) -> Boot | ForeignBoot:
    from bareflow_gdb.guest.base.loaded import kernel_base

    try:
        return context.kernel.boot()
    except BadData:
        if context.kernel.root is not None or kernel_base(context.kernel.memory) is None:
            raise
    return context.kernel.loaded(context.machine.image if context.machine is not None else None)


def _view(record: Boot | ForeignBoot) -> View:
    """Stages, then what was loaded."""
    from bareflow_gdb.guest.boot.foreign_boot import ForeignBoot

    return _foreign(record) if isinstance(record, ForeignBoot) else _recorded(record)


def _foreign(record: ForeignBoot) -> View:
    """What the loader left, and its image against memory."""
    head = facts(
        ("boot record", f"{NONE} boot record: its loader writes none, so its stages cannot be known"),
        (
            "stage 2",
            f"goes on in protected mode at 0x{record.protected_entry:08x}"
            if record.protected_entry
            else "not in memory any more",
        ),
        ("kernel", f"0x{record.kernel:08x}, called at 0x{record.entry:08x}"),
        ("compared with", record.compared or "nothing: neither its ELF nor the disk it was booted from is at hand"),
    )
    rows = [(part.name, address(part.address), part.size, _state(part)) for part in record.parts]
    parts = (table("part|address|>bytes|in memory", rows),) if rows else ()
    return View("Boot", head, parts, record.problems)


def _state(part: LoadedPart) -> Cell:
    if part.missing_from:
        return Cell(f"zeros from 0x{part.missing_from:08x} on", "bad")
    if not part.different:
        return Cell("the same", "good")
    changed = f"{part.different:,} bytes differ"
    return Cell(f"{changed}; the kernel may have written them") if part.written else Cell(changed, "bad")


def _recorded(record: Boot) -> View:
    rows = [
        (
            str(stage.number),
            stage.name,
            _reached(record, stage.number, stage.reached),
            number(stage.ms, 3),
            stage.tsc or None,
            Cell(stage.meaning, "" if stage.reached else "dim"),
        )
        for stage in record.stages
    ]
    known = record.sectors_needed or _came_to(record, "HEADER")
    needed = f"{record.sectors_needed:,} needed" if known else "not known yet how many are needed"
    head = facts(
        ("reached", Cell(record.stage, "good" if record.ok else "bad")),
        ("fatal", Cell(f"0x{record.fatal_code:02X} {record.fatal}", "bad") if record.fatal_code else "none"),
        ("disk", f"drive 0x{record.drive:02x} by {record.disk_method.upper()}"),
        ("sectors", f"{needed}, {record.sectors_asked:,} asked, {record.sectors_read:,} read"),
        ("loaded at", address(record.load_address)),
        ("signature", f"0x{record.signature:08x}" if record.signature or _came_to(record, "HEADER") else _UNKNOWN),
        ("CRC", _crc(record) if _came_to(record, "VERIFIED") or record.crc_computed else _UNKNOWN),
        ("A20", spoken(record.a20_method) if record.fatal_code or _came_to(record, "A20") else _UNKNOWN),
        ("memory", f"{record.memory_kib:,} KiB above 1 MiB" if record.memory_kib else _UNKNOWN),
        ("model", record.model or None),
        ("clock", f"{record.tsc_hz / 1e6:,.1f} MHz TSC" if record.tsc_hz else "not measured yet"),
    )
    return View("Boot", head, (table(">#|stage|reached|>ms|>~TSC|meaning", rows),), record.problems)


def _reached(record: Boot, stage: int, reached: bool) -> Cell:
    if reached:
        return Cell("yes", "good")
    return Cell("skipped", "dim") if stage < record.stage_number else Cell("no", "dim")


def _came_to(record: Boot, stage: str) -> bool:
    """Has the boot come so far that what belongs to this stage is set?"""
    return record.stage_number >= layouts.const(f"BF_STAGE_{stage}")


def _crc(record: Boot) -> Cell:
    if record.crc_expected == record.crc_computed:
        return Cell(f"0x{record.crc_computed:08x}, as the header says", "good")
    return Cell(f"0x{record.crc_computed:08x} computed, 0x{record.crc_expected:08x} expected", "bad")


QUESTION = Question(
    name="boot",
    help="boot stages with their times, what was loaded, what failed",
    details="Answers from stage 1 on, in real mode too, when there is no kernel yet.",
    example="boot",
    ask=_ask,
    view=_view,
    verdict=lambda record: record.ok,
    no="the boot has not come to the kernel or the record shows a fault",
)
