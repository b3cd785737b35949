"""Which exception did the guest take last, and where?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import ROOT, Question
from bareflow_gdb.render.view import Cell, View, facts

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.exception import ExceptionRecord


def _view(record: ExceptionRecord) -> View:
    """The last exception."""
    if not record.count:
        return View("Exception", notes=("the guest took no exception",))
    r = record.registers
    head = facts(
        ("exception", Cell(f"{record.name} (vector {record.vector})", "bad")),
        ("taken", f"{record.count:,} in all"),
        ("error code", f"0x{record.error_code:08x}"),
        ("at", f"EIP 0x{r.eip:08x}  CS 0x{r.cs:04x}  EFLAGS 0x{r.eflags:08x}  CR2 0x{r.cr2:08x}"),
        ("registers", f"EAX 0x{r.eax:08x}  ECX 0x{r.ecx:08x}  EDX 0x{r.edx:08x}  EBX 0x{r.ebx:08x}"),
        ("", f"ESP 0x{r.esp:08x}  EBP 0x{r.ebp:08x}  ESI 0x{r.esi:08x}  EDI 0x{r.edi:08x}"),
        ("code at EIP", " ".join(record.code[i : i + 2] for i in range(0, len(record.code), 2))),
    )
    return View("Exception", head)


QUESTION = Question(
    name="exception",
    help="the last exception that the guest took: vector, place, registers",
    details="It is read from the record that the guest's handler left in memory, so it is there after the guest "
    "halted too.",
    example="exception",
    needs=(ROOT,),
    ask=lambda context, _: context.kernel.exception(),
    view=_view,
    verdict=lambda record: record.count == 0,
    no="the guest took one",
)
