"""How does a stop in JIT code get its name before gdb shows it, without anybody having asked for symbols?

gdb tells its event handlers of a stop after it has printed it; `hook-stop` (hooks.py) runs before. It compares numbers;
only at a stop in JIT code, and where QEMU's RAM is read from the host, so that it costs no packet, the names of
published code are brought up to date.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.frames import in_jit_code, in_pools

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

_WATCHPOINTS = (gdb.BP_WATCHPOINT, gdb.BP_HARDWARE_WATCHPOINT, gdb.BP_READ_WATCHPOINT, gdb.BP_ACCESS_WATCHPOINT)


class StoppedFunction(gdb.Function):
    """Names the JIT code at a stop; for the suite's own use."""

    def __init__(self, current: Callable[[], Session], peek: Callable[[], Session]) -> None:
        super().__init__("_bf_stopped")
        self._current = current
        self._peek = peek
        self._hits: dict[int, int] = {}
        """How often each watchpoint had been hit by the last stop."""

    def invoke(self) -> bool:
        # A stop is shown without these names rather than not at all.
        with contextlib.suppress(BareflowError, gdb.error):
            self._name()
        return False

    def _is_at_watchpoint(self) -> bool:
        watched = (item for item in gdb.breakpoints() if item.type in _WATCHPOINTS)
        before, self._hits = self._hits, {item.number: item.hit_count for item in watched}
        return any(count > before.get(number, 0) for number, count in self._hits.items())

    def _name(self) -> None:
        # A new symbol file makes gdb set watchpoints again, and it forgets the commands of the one that was hit.
        if self._is_at_watchpoint():
            return
        pc = running.program_counter()
        session = self._peek()
        if in_pools(pc):
            session = self._current()
            session.open_freely()
        if session.reads_freely and in_jit_code(session, pc):
            self._current().update_symbols()
