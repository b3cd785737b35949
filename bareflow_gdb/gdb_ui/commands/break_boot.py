"""`bf break-boot`: stop where a boot stage begins."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import boot_stages, boot_steps
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot_code import next_instruction
from bareflow_gdb.questions.question import argument


@dataclass(frozen=True)
class BootBreakpoint:
    """A stage's place; `breakpoint` is the number that was set, 0 when the guest was run there."""

    stage: str
    address: Address
    known_by: str
    breakpoint: int
    mode: str
    """The CPU's mode when it was reached, "" = not run."""
    instruction: str


@command(
    "break-boot",
    needs=Session.require_stopped,
    example="bf break-boot stage2 --run",
    arguments=(
        argument("stage", choices=boot_stages.NAMES, metavar="STAGE", help="stage1, stage2, pm, kernel or main"),
        argument("--run", action="store_true", help="run there now, with a breakpoint that is gone afterwards"),
    ),
    show=lambda record: _text(record),
)
def break_boot(options: argparse.Namespace, session: Session) -> BootBreakpoint:
    """Set a temporary hardware breakpoint where a boot stage begins.

    stage1 is the boot sector, stage2 its successor, pm the first instruction in protected mode, kernel the
    image's first, main kernel_main. Start the machine with `bareflow run --paused`, or reset it with `monitor
    system_reset`: what is not in memory yet is looked up on the machine's disk.
    """
    stage = boot_stages.find_stage(session, options.stage)
    if not options.run:
        # Of the hardware kind: the boot loader writes code over anything else.
        breakpoint = gdb.Breakpoint(f"*0x{stage.address:x}", type=gdb.BP_HARDWARE_BREAKPOINT, temporary=True)
        return BootBreakpoint(stage.stage, stage.address, stage.known_by, breakpoint.number, "", "")
    if boot_steps.here(session).linear != stage.address:
        stop = boot_steps.run_to(session, stage.address)
        if stop is not None:
            raise BareflowError(
                f"{stage.stage} was not reached: {stop} stopped the guest first; nothing of this command is left set"
            )
    place = boot_steps.here(session)
    instruction = next_instruction(session.memory, place).text
    return BootBreakpoint(stage.stage, stage.address, stage.known_by, 0, place.mode, instruction)


def _text(record: BootBreakpoint) -> str:
    where = f"{record.stage} at 0x{record.address:08x} ({record.known_by})"
    if record.breakpoint:
        return f"temporary breakpoint {record.breakpoint} for {where}; `continue` runs there"
    return f"{where}, {record.mode} mode\n  {record.instruction}"
