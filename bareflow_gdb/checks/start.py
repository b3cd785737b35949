"""How did a start go that was watched: was the guest reset, by which exceptions, or does it hang, and where?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import WATCHED, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import NOTE, WARNING, Finding
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.boot.boot_code import is_bios
from bareflow_gdb.guest.boot.watch import LOOPS, RESET, RUNS, Taken, Watched
from bareflow_gdb.guest.code.code_diff import disassembler
from bareflow_gdb.guest.machine.cpu import no_idt
from bareflow_gdb.guest.machine.exception import NAMES

_LONGEST_INSTRUCTION, _GATE_BYTES = 15, 8
_INVALID_OPCODE = 6
_VECTOR_REGISTER = re.compile(r"\b[xyz]?mm[0-7]\b")
_INPUTS = {0x60: "a key", 0x64: "a key", 0x3FD: "a character on COM1"}
_BEFORE = 256


def _look(subject: Subject) -> Iterator[Finding]:
    watched = subject.watched
    assert watched is not None
    if watched.ending == RESET and watched.triple_fault and watched.taken:
        yield _triple_fault(subject, watched)
    elif watched.ending == RESET:
        yield Finding(
            what="the guest resets the machine itself",
            where=_place(subject, subject.registers.linear_eip),
            evidence=f"it asked for that {watched.seconds:g} s after the start; no exception was the reason",
            consequence="the machine starts again, and whatever ran is lost",
            next_step="look for writes to port 0x64 or 0xCF9: `disas` shows the code at that address",
        )
    elif watched.ending == LOOPS and watched.eips:
        yield _loops(subject, watched)
    elif watched.ending == RUNS and watched.eips:
        yield _not_over(subject, watched)


def _triple_fault(subject: Subject, watched: Watched) -> Finding:
    """The exceptions at the place of the last one: the first of them is the reason, the others could not be told."""
    at = watched.taken[-1].eip
    chain = list(takewhile(lambda one: one.eip == at, reversed(watched.taken)))[::-1]
    names = [_name(one) for one in chain]
    evidence = f"{names[0]}{_code(subject, at)}"
    if len(names) > 1:
        evidence += f", which could not be delivered: {', then '.join(names[1:])}"
    table = subject.registers.segments["idt"]
    if (lacks := no_idt(subject.registers)) is not None:
        evidence += f"; {lacks.evidence}"
    elif (chain[0].vector + 1) * _GATE_BYTES > table.limit + 1:
        evidence += f"; the interrupt table at 0x{table.base:08x} ends before that vector, its limit is {table.limit}"
    if (before := watched.exceptions - len(chain)) > 0:
        evidence += f"; {before:,} exception{'s' if before > 1 else ''} before"
    return Finding(
        what=f"the machine is reset by a triple fault, after {names[0]}",
        where=_place(subject, at),
        evidence=evidence,
        consequence="it starts again and again, without a word",
        next_step=_next_step(chain[0], evidence),
    )


def _next_step(first: Taken, evidence: str) -> str:
    if first.vector == _INVALID_OPCODE and _VECTOR_REGISTER.search(evidence):
        return "compile with -march=i686 -mno-sse -mno-mmx, or set CR4.OSFXSR before the first such instruction"
    return "`run --paused`, in gdb `bf break-boot kernel` and a breakpoint at that address show how it came there"


def _loops(subject: Subject, watched: Watched) -> Finding:
    places = _places(watched)
    low, high = min(places), max(places)
    port = _polled(subject, low, high)
    looks = "look after look found it there, its registers the same"
    if port in _INPUTS:
        return Finding(
            severity=NOTE,
            what=f"the guest waits for {_INPUTS[port]}{_inside(subject, watched)}",
            where=_span(low, high),
            evidence=f"{looks}, reading port 0x{port:x}",
        )
    return Finding(
        what=f"the guest hangs{_inside(subject, watched)}",
        where=_span(low, high),
        evidence=looks + (f", reading port 0x{port:x}" if port is not None else ""),
        consequence="nothing that comes after it is reached",
        next_step=f"`disas 0x{low:x}` shows the loop; `diagnose --keep` leaves the machine for gdb",
    )


def _not_over(subject: Subject, watched: Watched) -> Finding:
    """A kernel that keeps a boot record says itself when it is done; of another one it cannot be known."""
    end = subject.kernel.memory.ranges[-1][1]
    if min(_places(watched)) >= end:
        return Finding(
            what="the CPU runs where there is no memory",
            where=_span(min(_places(watched)), max(_places(watched))),
            evidence=f"memory ends at 0x{end:08x}; nothing is there but what a bus without a device reads as",
            consequence="it never comes back: a call, a jump or a return went astray",
            next_step="`exception` and `log` show the last that is known; `run --paused`, in gdb "
            "`bf break-boot kernel` and steps from there show where it leaves",
        )
    return Finding(
        severity=WARNING if stage_of(subject.kernel.memory) else NOTE,
        what=f"the guest still runs after {watched.seconds:g} s{_inside(subject, watched)}",
        where=_span(min(_places(watched)), max(_places(watched))),
        evidence="its registers change from look to look",
        consequence="it may be slow, or compute for ever",
        next_step="give it more time with --timeout; `diagnose --keep` leaves the machine for gdb",
    )


def _places(watched: Watched) -> list[int]:
    """Where the CPU was, without the BIOS's handler of the timer, into which a look may fall."""
    return [eip for eip in watched.eips if not is_bios(eip)] or list(watched.eips)


def _inside(subject: Subject, watched: Watched) -> str:
    """In which function, when it is always the same, and at which boot stage."""
    names = {_function(subject, eip) for eip in _places(watched)}
    name = names.pop() if len(names) == 1 else ""
    stage = stage_of(subject.kernel.memory)
    return (f" in {name}" if name else "") + (f" at stage {word('bf_boot_stage', stage)}" if stage else "")


def _span(low: int, high: int) -> str:
    return f"0x{low:08x} to 0x{high:08x}" if low != high else f"0x{low:08x}"


def _polled(subject: Subject, low: int, high: int) -> int | None:
    """The port that the code between two places reads, or begins with reading; None = none that can be told."""
    start = max(low - _BEFORE, _start_of(subject, low))
    try:
        code = subject.kernel.memory.read(start, high + _LONGEST_INSTRUCTION - start, "loop")
    except BareflowError:
        return None
    for _, _, name, operands in disassembler(32).disasm_lite(code, start):
        if name == "in":
            number = operands.split(", ")[1]
            return subject.registers.general["edx"] & 0xFFFF if number == "dx" else int(number, 0)
    return None


def _start_of(subject: Subject, address: int) -> int:
    """Where its function begins; else the address itself."""
    try:
        found = subject.kernel.identify(address)
    except BareflowError:
        return address
    return found.start if found.name else address


def _name(taken: Taken) -> str:
    return NAMES.get(taken.vector, f"exception {taken.vector}")


def _code(subject: Subject, address: int) -> str:
    """The instruction, in words."""
    try:
        data = subject.kernel.memory.read(address, _LONGEST_INSTRUCTION, "instruction")
    except BareflowError:
        return ""
    decoded = next(disassembler(32).disasm_lite(data, address), None)
    return f" at `{f'{decoded[2]} {decoded[3]}'.strip()}`" if decoded else f" at the bytes {data[:4].hex(' ')}"


def _function(subject: Subject, address: int) -> str:
    try:
        return subject.kernel.identify(address).name
    except BareflowError:
        return ""


def _place(subject: Subject, address: int) -> str:
    name = _function(subject, address)
    return f"0x{address:08x}{f' in {name}' if name else ''}"


CHECK = Check("start", "how a start that was watched went: resets and their exceptions, loops", (WATCHED,), _look)
