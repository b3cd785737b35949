"""How is an exception of a stock kernel caught? By breakpoints on the handlers that its interrupt table names.

When the table is not filled yet, its last exception's gate is watched, by the symbol `idt`. The end of the run is
seen at the symbol `cpu_halt`; without it only an exception or Ctrl-C ends the waiting.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.guest.machine.descriptors import ENTRY_BYTES, Gate, read_gates
from bareflow_gdb.guest.stock.exception import EXCEPTIONS, exception_at
from bareflow_gdb.guest.stock.window import END, START

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.machine.exception import ExceptionRecord

IDT, HALT = "idt", "cpu_halt"
_HLT, _INTERRUPTS_ON = b"\xf4", 1 << 9


def catch(session: Session) -> ExceptionRecord | None:
    """Lets the guest run until it takes an exception; None when its run ended without. Raises BareflowError."""
    if has_halted(session):
        return None
    gates = _gates(session) or _filled(session)
    with ExitStack() as stack:
        at = {
            handler: stack.enter_context(running.internal_breakpoint(handler))
            for handler in {int(gate.handler) for gate in gates}
        }
        halt = symbol(HALT)
        end = stack.enter_context(running.internal_breakpoint(halt)) if halt is not None else None
        stop = running.resume()
        session.refresh()
        if end in stop.breakpoints:
            return None
        if not any(item in stop.breakpoints for item in at.values()):
            raise BareflowError(f"{stop} stopped the guest before an exception came")
    raw = session.memory.cpu()
    return exception_at(session.memory, raw, [gate for gate in gates if gate.handler == raw.general["eip"]])


def has_halted(session: Session) -> bool:
    """Does the guest stand behind a `hlt` that no interrupt ends?"""
    eip = running.read_register("eip")
    if running.read_register("eflags") & _INTERRUPTS_ON or not START < eip < END:
        return False
    return session.memory.read(eip - 1, 1, "code before EIP") == _HLT


def _gates(session: Session) -> list[Gate]:
    """Those of exceptions, by the CPU's register; none before the kernel has set it."""
    found = [gate for gate in session.guest.kernel().cpu().gates if gate.vector < EXCEPTIONS]
    return found if all(START <= gate.handler < END for gate in found) else []


def _filled(session: Session) -> list[Gate]:
    """The same by the symbol: the guest runs until the last gate was written."""
    table = symbol(IDT)
    if table is None:
        raise BareflowError(
            "the kernel has not set its interrupt table yet: let it run until it has, or load its ELF that has "
            "symbols with `file`"
        )
    last = table + (EXCEPTIONS - 1) * ENTRY_BYTES
    with running.internal_watchpoint(last) as low, running.internal_watchpoint(last + 4) as high:
        while True:
            stop = running.resume()
            session.refresh()
            if low not in stop.breakpoints and high not in stop.breakpoints:
                raise BareflowError(f"{stop} stopped the guest before its interrupt table was filled")
            gates = read_gates(session.memory, table, EXCEPTIONS * ENTRY_BYTES, session.guest.kernel().names())
            if len(gates) == EXCEPTIONS and all(START <= gate.handler < END for gate in gates):
                return gates
