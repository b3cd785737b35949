"""How is an exception of a stock kernel caught? By breakpoints on the handlers that its interrupt table names.

When the table is not filled yet, its last exception's gate is watched, by the symbol `idt`. A kernel that never fills
one halts at last, or is reset: that ends the waiting too.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running, stock_halt
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.stock_halt import has_halted
from bareflow_gdb.guest.machine.descriptors import ENTRY_BYTES, Gate, read_gates
from bareflow_gdb.guest.stock.exception import EXCEPTIONS, exception_at
from bareflow_gdb.guest.stock.window import END, LOWEST

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.machine.exception import ExceptionRecord

IDT = "idt"


def catch(session: Session) -> ExceptionRecord | None:
    """Lets the guest run until it takes an exception; None when its run ended without. Raises BareflowError."""
    if has_halted(session):
        return None
    gates = _gates(session) or _filled(session)
    if not gates:
        return None
    with ExitStack() as stack:
        at = {
            handler: stack.enter_context(running.internal_breakpoint(handler))
            for handler in {int(gate.handler) for gate in gates}
        }
        ends = stack.enter_context(stock_halt.end_of_run(session))
        stop = running.resume()
        session.refresh()
        if any(item in stop.breakpoints for item in ends):
            stock_halt.refuse_reset()
            return None
        if not any(item in stop.breakpoints for item in at.values()):
            raise BareflowError(f"{stop} stopped the guest before an exception came")
    raw = session.memory.cpu()
    return exception_at(session.memory, raw, [gate for gate in gates if gate.handler == raw.general["eip"]])


def _gates(session: Session) -> list[Gate]:
    """Those of exceptions, by the CPU's register; none before the kernel has set it."""
    found = [gate for gate in session.guest.kernel().cpu().gates if gate.vector < EXCEPTIONS]
    return found if all(LOWEST <= gate.handler < END for gate in found) else []


def _filled(session: Session) -> list[Gate]:
    """The same by the symbol: the guest runs until the last gate was written; none when it halts before that."""
    table = symbol(IDT)
    if table is None:
        raise BareflowError(
            "the kernel has not set its interrupt table yet: let it run until it has, or load its ELF that has "
            "symbols with `file`"
        )
    last = table + (EXCEPTIONS - 1) * ENTRY_BYTES
    with (
        running.internal_watchpoint(last) as low,
        running.internal_watchpoint(last + 4) as high,
        stock_halt.end_of_run(session) as ends,
    ):
        while True:
            stop = running.resume()
            session.refresh()
            if any(item in stop.breakpoints for item in ends):
                stock_halt.refuse_reset()
                return []
            if low not in stop.breakpoints and high not in stop.breakpoints:
                raise BareflowError(f"{stop} stopped the guest before its interrupt table was filled")
            gates = read_gates(session.memory, table, EXCEPTIONS * ENTRY_BYTES, session.guest.kernel().names())
            if len(gates) == EXCEPTIONS and all(LOWEST <= gate.handler < END for gate in gates):
                return gates
