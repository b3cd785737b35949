"""Are the descriptor tables those of a flat kernel: segments from 0 to 4 GiB, gates that lead to its code?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, REGISTERS, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.machine.cpu import no_idt

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.cpu import Cpu
    from bareflow_gdb.guest.machine.descriptors import Gate

_ALL = 0xFFFFFFFF
_USED = ("cs", "ss", "ds", "es")
_EXCEPTIONS = 32
_MOST_GATES = 1
"""One overwritten table is one finding."""


def _look(subject: Subject) -> Iterator[Finding]:
    if not subject.registers.control["cr0"] & 1:
        return
    cpu = subject.kernel.cpu()
    if cpu.mode != "protected":
        return
    yield from _segments(cpu)
    if no_idt(subject.registers) is None:
        yield from _gates(cpu)


def _segments(cpu: Cpu) -> Iterator[Finding]:
    """What a segment register has loaded, and what its descriptor says by now."""
    table = {int(one.selector): one for one in cpu.gdt}
    for segment in cpu.segments:
        if segment.name not in _USED:
            continue
        if segment.base or segment.limit != _ALL:
            yield _finding(
                f"{segment.name.upper()} is not flat",
                f"selector 0x{segment.selector:02x}",
                f"it has base 0x{segment.base:08x} and limit 0x{segment.limit:08x}; a kernel without paging has 0 and "
                f"0x{_ALL:08x}",
                "every address that goes through it is another one, or a general protection fault (#GP)",
            )
            continue
        entry = table.get(segment.selector & ~7)
        if entry is None or segment.selector & 4:
            wrong = f"the GDT has {cpu.gdt_bytes} bytes, and nothing there"
        elif not entry.present:
            wrong = f"its descriptor is not present ({entry.kind})"
        elif ("code" in entry.kind) != (segment.name == "cs") or not entry.kind.startswith("32-bit"):
            wrong = f"its descriptor is {entry.kind}"
        elif entry.base or entry.limit != _ALL:
            wrong = f"its descriptor has base 0x{entry.base:08x} and limit 0x{entry.limit:08x}"
        else:
            continue
        yield _finding(
            f"the GDT entry of {segment.name.upper()} is wrong",
            f"0x{cpu.gdt_base + (segment.selector & ~7):08x}, selector 0x{segment.selector:02x}",
            wrong,
            "the CPU goes on with what it has loaded; the next interrupt or load of it is a #GP",
        )


def _gates(cpu: Cpu) -> Iterator[Finding]:
    code = {int(one.selector) for one in cpu.gdt if one.present and "code" in one.kind}
    wrong = [(gate, why) for gate in cpu.gates if (why := gate.problem or _leads_astray(gate, code))]
    for gate, why in wrong[:_MOST_GATES]:
        yield _finding(
            f"the gate of vector {gate.vector} ({gate.meaning}) is wrong",
            f"0x{cpu.idt_base + 8 * gate.vector:08x}",
            why + (f"; {len(wrong) - 1} gates more are" if len(wrong) > _MOST_GATES else ""),
            "when it is taken it is a double fault, or runs what lies there",
        )
    there = {gate.vector for gate in cpu.gates}
    missing = [vector for vector in range(_EXCEPTIONS) if vector not in there]
    if missing and cpu.registers is not None:
        yield _finding(
            f"{len(missing)} exception{'s have' if len(missing) > 1 else ' has'} no gate",
            f"0x{cpu.idt_base:08x}",
            f"not present: vector {', '.join(map(str, missing[:8]))}{' …' if len(missing) > 8 else ''}; the IDT "
            f"has {cpu.idt_bytes} bytes",
            "such an exception becomes a double fault, and that one perhaps a reset",
        )


def _leads_astray(gate: Gate, code: set[int]) -> str:
    if not code or gate.selector & ~3 in code:
        return ""
    return f"its selector 0x{gate.selector:02x} is no code segment of the GDT"


def _finding(what: str, where: str, evidence: str, consequence: str) -> Finding:
    return Finding(
        what=what,
        where=where,
        evidence=evidence,
        consequence=consequence,
        next_step="`cpu` shows both tables; a watchpoint there finds who writes",
    )


CHECK = Check("descriptors", "segments and gates in the descriptor tables", (KERNEL, REGISTERS), _look)
