"""In which state is the CPU: mode, flags, descriptor tables, handlers?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.values import feature_name
from bareflow_gdb.questions.question import MEMORY, Question
from bareflow_gdb.render.view import Cell, Table, View, address, facts, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.cpu import Cpu


def _view(record: Cpu) -> View:
    """Mode and registers, segments, GDT, IDT."""
    parts: list[Table | str] = []
    if record.segments:
        segments = [(s.name.upper(), f"0x{s.selector:04x}", _hex(s.base), _hex(s.limit)) for s in record.segments]
        parts.append(table("register|selector|base|limit", segments, "Segments"))
    if record.gdt:
        rows = [
            (f"0x{d.selector:04x}", d.kind, _hex(d.base), _hex(d.limit), str(d.ring), yes(d.present))
            for d in record.gdt
        ]
        title = f"GDT at 0x{record.gdt_base:08x}, {record.gdt_bytes} bytes"
        parts.append(table("selector|kind|base|limit|>ring|present", rows, title))
    if record.gates:
        gates = [
            (
                f"0x{g.vector:02x}",
                g.meaning,
                g.kind,
                f"0x{g.selector:04x}",
                address(g.handler),
                Cell(g.problem, "bad") if g.problem else g.name,
            )
            for g in record.gates
        ]
        title = f"IDT at 0x{record.idt_base:08x} (by {record.idt_found_by}), {record.gates_absent} gates absent"
        parts.append(table("vector|meaning|~kind|~selector|handler|name", gates, title))
    return View("CPU", _facts(record), tuple(parts), record.problems, record.notes)


def _facts(record: Cpu) -> tuple[tuple[str, Cell], ...]:
    exception = Cell(record.exception, "bad") if record.exception else "none" if record.exception == "" else None
    r = record.registers
    vectors = None if record.vectors is None else " ".join(map(feature_name, record.vectors)) or "none"
    if r is None:
        return facts(("mode", record.mode), ("vectors", vectors), ("exception", exception))
    where = f" ({record.place.text})" if record.place is not None else ""
    return facts(
        ("mode", Cell(record.mode, "strong")),
        ("at", f"EIP 0x{r.eip:08x}{where}"),
        ("registers", f"EAX 0x{r.eax:08x}  ECX 0x{r.ecx:08x}  EDX 0x{r.edx:08x}  EBX 0x{r.ebx:08x}"),
        ("", f"ESP 0x{r.esp:08x}  EBP 0x{r.ebp:08x}  ESI 0x{r.esi:08x}  EDI 0x{r.edi:08x}"),
        ("EFLAGS", f"0x{r.eflags:08x}  {' '.join(record.eflags)}"),
        ("CR0", f"0x{r.cr0:08x}  {' '.join(record.cr0)}"),
        ("CR2, CR3", f"0x{r.cr2:08x}, 0x{r.cr3:08x}"),
        ("CR4", f"0x{r.cr4:08x}  {' '.join(record.cr4)}"),
        ("vectors", vectors),
        ("exception", exception),
    )


def _hex(value: int) -> str:
    return f"0x{value:08x}"


QUESTION = Question(
    name="cpu",
    help="the CPU: mode, registers, control bits by name, GDT, IDT with its handlers",
    details="The descriptor tables' registers come from QEMU's monitor, or from the core's notes.",
    example="cpu",
    needs=(MEMORY,),
    ask=lambda context, _: context.kernel.cpu(),
    view=_view,
    verdict=lambda record: not record.problems,
    no="a table cannot be right",
)
