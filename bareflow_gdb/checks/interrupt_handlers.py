"""Do interrupt handlers give back to what they interrupt all of its registers, and its x87 and vector state?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, REGISTERS, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.machine.cpu import no_idt
from bareflow_gdb.guest.machine.descriptors import Gate
from bareflow_gdb.guest.machine.handlers import Handlers, Spoilt

_NAMED = 4


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.asking_stops or not subject.registers.control["cr0"] & 1 or no_idt(subject.registers) is not None:
        return
    handlers = Handlers(subject.kernel.memory)
    found: dict[str, tuple[Spoilt, list[Gate]]] = {}
    for gate in subject.kernel.cpu().gates:
        if gate.problem:
            continue
        try:
            spoilt = list(handlers.spoilt_by(gate.handler))
        except BareflowError:
            # Where a gate leads is another check's question.
            continue
        for one in spoilt:
            found.setdefault(one.what, (one, []))[1].append(gate)
    for one, gates in found.values():
        of = ", ".join(gate.meaning for gate in gates[:_NAMED]) + (" and more" if len(gates) > _NAMED else "")
        yield Finding(
            what=f"an interrupt handler changes {one.what} of the code that it interrupts",
            where=f"0x{one.address:08x}",
            evidence=f"`{one.instruction}` on the way through the handler of {of}: what it changes {one.how}",
            consequence="whatever is computed there goes on with another value, now and then, wherever that may be",
            next_step=f"`disas 0x{one.address:x}` shows it; save it in the stub, before anything else",
        )


CHECK = Check("interrupt_handlers", "what interrupt handlers save, change and restore", (KERNEL, REGISTERS), _look)
