"""Which interrupts can come, what takes them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import MEMORY, Question
from bareflow_gdb.render.view import Cell, View, address, facts, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.irq import Irq, Line


def _view(record: Irq) -> View:
    """The lines of both PICs."""
    on = record.interrupts_on
    head = facts(
        ("interrupts", "not known" if on is None else yes(on, "on (EFLAGS.IF)", "off (EFLAGS.IF)")),
        ("timer ticks", record.ticks),
        ("PICs", "8259 pair" if record.pics_known else Cell("masks not known", "dim")),
    )
    rows = [
        (
            str(line.line),
            line.device,
            f"0x{line.vector:02x}" if line.vector is not None else "-",
            address(line.handler),
            line.name or "-",
            _mask(line),
            _flag(line.requested),
            _flag(line.in_service),
        )
        for line in record.lines
    ]
    columns = ">line|device|vector|handler|name|mask|requested|in service"
    return View("Interrupts", head, (table(columns, rows),), record.problems, record.notes)


def _mask(line: Line) -> Cell:
    if line.masked is None:
        return Cell("-", "dim")
    return Cell("masked", "dim") if line.masked else Cell("open", "good")


def _flag(value: bool | None) -> Cell:
    return Cell("-", "dim") if not value else Cell("yes", "strong")


QUESTION = Question(
    name="irq",
    help="the interrupt lines: device, vector, handler, mask, request, timer ticks",
    details="Masks are registers of the PICs, which no memory holds: they are known for a live guest only.",
    example="irq",
    needs=(MEMORY,),
    ask=lambda context, _: context.kernel.irq(),
    view=_view,
    verdict=lambda record: not record.problems,
    no="an open line has no handler",
)
