"""How is it shown what became of an order to veto, allow, force or roll back a swap?"""

from __future__ import annotations

from bareflow_gdb import foreign
from bareflow_gdb.guest.base.control import FORCE, ROLLBACK, VETO
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.orders import Obeyed


def obeyed(record: Obeyed) -> str:
    """One line: what is so now, or why it is not."""
    # A kernel without versions of its own: 0.
    now = code_name(record.function, record.level, record.version or None)
    if not record.done:
        text = f"{record.wanted}: {record.action} was not done: {record.message}; it runs {now}"
        return foreign.sentence(text)
    if record.action in (FORCE, ROLLBACK):
        before = code_name(record.function, record.level_before, record.version_before or None)
        text = f"{now} runs" if record.version == record.version_before else f"{before} → {now}"
    elif record.action == VETO:
        text = f"swaps of {record.function} are vetoed, it stays {now}"
    else:
        text = f"swaps of {record.function} are allowed, it runs {now}"
    return foreign.sentence(f"{text}; {record.message}" if record.message else text)
