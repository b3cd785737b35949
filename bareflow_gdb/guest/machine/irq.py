"""Which hardware interrupts can come, what takes them, how often did the timer?

Masks and requests are registers of the PICs, which no memory holds: QEMU's monitor tells them for a live guest.
Read budget: registers 1 packet, PICs 1, IDT 1, status 1, names as in names.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import CANNOT_KNOW
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.machine.cpu import idt_of, interrupts_on, mode_of, table_memory
from bareflow_gdb.guest.machine.descriptors import Gate, read_gates
from bareflow_gdb.guest.names.names import Names
from bareflow_gdb.memory.protocol import Memory

LINES = (
    "timer (PIT)",
    "keyboard",
    "second PIC",
    "COM2",
    "COM1",
    "LPT2",
    "floppy",
    "LPT1, or spurious",
    "real-time clock",
    "free",
    "free",
    "free",
    "PS/2 mouse",
    "x87",
    "first ATA channel",
    "second ATA channel, or spurious",
)
_USUAL_BASE = 0x20
_PIC = re.compile(r"^pic([01]): irr=([0-9a-f]+) imr=([0-9a-f]+) isr=([0-9a-f]+).* irq_base=([0-9a-f]+)", re.MULTILINE)
_CASCADE = 2


@dataclass(frozen=True)
class Line:
    """One of the 16 interrupt lines; None = not known from this memory."""

    line: int
    device: str
    vector: int | None
    handler: Address
    """0 = no gate, or the vector is not known."""
    name: str
    masked: bool | None
    requested: bool | None
    in_service: bool | None


@dataclass(frozen=True)
class Irq:
    """The interrupt lines of both PICs."""

    interrupts_on: bool | None
    """EFLAGS.IF."""
    ticks: int | None
    """Timer interrupts that the kernel counted."""
    pics_known: bool
    lines: tuple[Line, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pic:
    requested: int
    masked: int
    in_service: int
    base: int


def read_irq(memory: Memory, root: Root | None, names: Names) -> Irq:
    """Never raises for a guest; what cannot be told is None, and the reason is in `notes`."""
    notes: list[str] = []
    problems: list[str] = []
    raw, base, size = idt_of(memory, names.symbols, notes)
    gates: dict[int, Gate] = {}
    if raw is not None:
        names.under(raw)
    if raw is not None and mode_of(raw) == "real":
        notes.append("real mode: interrupts go through the BIOS's vectors")
    elif size:
        try:
            table = table_memory(memory, raw, base)
            gates = {gate.vector: gate for gate in read_gates(table, base, size, names)}
        except BareflowError as error:
            problems.append(f"the IDT cannot be read: {error}")
    pics = _read_pics(memory, notes)
    # Our kernels move the PICs' vectors before they turn interrupts on; where others have them only the PICs tell.
    usual = None if root is None and not pics else _USUAL_BASE
    if usual is None:
        notes.append(f"which vectors the lines have {CANNOT_KNOW}: only the PICs hold that")
    lines = tuple(_line(number, pics, gates, usual) for number in range(len(LINES)))
    if gates:
        problems += [
            f"line {line.line} ({line.device}) is not masked and vector {line.vector} has no gate"
            for line in lines
            if line.masked is False and not line.handler and line.line != _CASCADE
        ]
    return Irq(
        interrupts_on=interrupts_on(raw) if raw is not None else None,
        ticks=_ticks(memory, root, notes),
        pics_known=bool(pics),
        lines=lines,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _read_pics(memory: Memory, notes: list[str]) -> list[_Pic]:
    try:
        text = memory.monitor("info pic")
    except BareflowError as error:
        notes.append(f"masks are not known: {error}")
        return []
    found = {int(number): _Pic(*(int(value, 16) for value in values)) for number, *values in _PIC.findall(text)}
    if found.keys() != {0, 1}:
        notes.append("masks are not known: this QEMU's `info pic` says nothing about two 8259 controllers")
        return []
    return [found[0], found[1]]


def _line(number: int, pics: list[_Pic], gates: dict[int, Gate], usual: int | None) -> Line:
    pic = pics[number // 8] if pics else None
    vector = pic.base + number % 8 if pic else None if usual is None else usual + number
    gate = gates.get(vector) if vector is not None else None
    bit = 1 << number % 8
    return Line(
        line=number,
        device=LINES[number],
        vector=vector,
        handler=gate.handler if gate else Address(0),
        name=gate.name if gate else "",
        masked=bool(pic.masked & bit) if pic else None,
        requested=bool(pic.requested & bit) if pic else None,
        in_service=bool(pic.in_service & bit) if pic else None,
    )


def _ticks(memory: Memory, root: Root | None, notes: list[str]) -> int | None:
    if root is None or not root.status:
        return None
    try:
        return read_counters(memory, root).irq_count
    except BareflowError as error:
        notes.append(str(error))
        return None
