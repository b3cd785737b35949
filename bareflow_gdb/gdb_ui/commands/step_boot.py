"""`bf step-boot`: step instructions of boot code, shown as the CPU decodes them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError, ReadError, UsageError
from bareflow_gdb.gdb_ui import boot_steps
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot_code import CodePlace, is_bios, next_instruction
from bareflow_gdb.questions.question import argument

MOST = 10_000


@dataclass(frozen=True)
class Line:
    """The CPU before one instruction."""

    mode: str
    bits: int
    place: str
    """segment:offset in 16-bit code."""
    linear: Address
    code: str
    instruction: str


@dataclass(frozen=True)
class BootSteps:
    """The instructions that were executed, and the next one last."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@command(
    "step-boot",
    needs=Session.require_stopped,
    example="bf step-boot 5 --over",
    arguments=(
        argument("count", nargs="?", type=int, default=1, metavar="COUNT", help="instructions (default 1)"),
        argument("--over", action="store_true", help="run through calls, BIOS interrupts and loops"),
    ),
    show=lambda record: _text(record),
)
def step_boot(options: argparse.Namespace, session: Session) -> BootSteps:
    """Step instructions of boot code, each shown with mode and address, 16-bit code decoded as such.

    Shows what was executed and, marked =>, what comes next. Works in real mode, across the switch to protected
    mode, and where CS has another base than 0: from a breakpoint there, which gdb takes for a SIGTRAP and
    cannot continue from, it steps off and says so.
    """
    if not 0 <= options.count <= MOST:
        raise UsageError(f"{options.count} instructions cannot be stepped; give a number from 0 to {MOST}")
    lines, notes = [], []
    for _ in range(options.count):
        place = boot_steps.here(session)
        line, leaves = _line(session, place)
        lines.append(line)
        if options.over and leaves:
            stop = boot_steps.run_to(session, place.linear + len(line.code) // 2)
            if stop is not None:
                notes.append(f"{stop} stopped the guest inside {line.instruction}")
                break
        elif said := boot_steps.step(place):
            notes.append(said)
    lines.append(_line(session, boot_steps.here(session))[0])
    return BootSteps(tuple(lines), tuple(notes))


def _line(session: Session, place: CodePlace) -> tuple[Line, bool]:
    try:
        instruction = next_instruction(session.memory, place)
    except ReadError as error:
        # Reading there may change the guest, so gdb is not asked for the bytes either.
        where = "(in the BIOS, not RAM)" if is_bios(place.linear) and not place.paged else f"(not read: {error.why})"
        return Line(place.mode, place.bits, place.text, place.linear, "", where), False
    except BareflowError as error:
        raise BareflowError(f"the code at 0x{place.linear:x} cannot be shown: {error}") from error
    line = Line(place.mode, place.bits, place.text, place.linear, instruction.code, instruction.text)
    return line, instruction.leaves


def _text(record: BootSteps) -> str:
    lines = []
    for index, line in enumerate(record.lines):
        mark = "=>" if index == len(record.lines) - 1 else "  "
        lines.append(
            f"{mark} {line.mode:<9} {line.bits}-bit  {line.place:<9}  0x{line.linear:08x}  {line.code:<18}  "
            f"{line.instruction}"
        )
    return "\n".join([*lines, *record.notes])
