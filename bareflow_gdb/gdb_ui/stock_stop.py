"""Is a stock kernel stopped in code of its JIT, although nobody has asked for its records yet?

They are searched for in QEMU's RAM, some 10 ms, without a packet. A search in vain is not made again for stops in the
same page of code until the main function's locals have changed, which is where such kernels keep these records.
"""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.frames import in_jit_code

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.stock.places import Cpu
    from bareflow_gdb.memory.protocol import Memory

_PAGE = 4096
_FRAMES = 0x90000
"""Where the stack of such a kernel begins."""
_MOST = 4096
"""Searches in vain that are remembered."""


def _cpu() -> Cpu | None:
    """The registers that gdb has had since the stop; None when this target has no such registers."""
    from bareflow_gdb.guest.stock.places import Cpu

    try:
        cr0, esp, eip, eflags = map(running.register_value, ("cr0", "esp", "pc", "eflags"))
    except gdb.error:
        return None
    return Cpu(bool(cr0 & 1), esp, eip, bool(eflags & 1 << 9))


class StockStop:
    """What was searched in vain so far."""

    def __init__(self) -> None:
        self._in_vain: set[tuple[int, int]] = set()

    def is_in_code(self, session: Session, pc: int) -> bool:
        """Is that address in JIT code of a stock kernel?"""
        from bareflow_gdb.guest.base.find import has_our_header
        from bareflow_gdb.guest.base.loaded import kernel_base

        memory = session.memory
        if has_our_header(memory) or kernel_base(memory) is None:
            return False
        cpu = session.cpu_at_stop = _cpu()
        if session.stock_code or cpu is None:
            return in_jit_code(session, pc)
        tried = (pc // _PAGE, _locals(memory))
        if tried in self._in_vain:
            return False
        if _has_code(memory, cpu, pc):
            return True
        if len(self._in_vain) >= _MOST:
            self._in_vain.clear()
        self._in_vain.add(tried)
        return False


def _locals(memory: Memory) -> int:
    """Changes with what the main function keeps in its frame, the first one on the stack."""
    return zlib.crc32(memory.read(_FRAMES - _PAGE, _PAGE, "the main function's locals"))


def _has_code(memory: Memory, cpu: Cpu, pc: int) -> bool:
    from bareflow_gdb.guest.stock.places import Places
    from bareflow_gdb.guest.stock.records import known_code
    from bareflow_gdb.guest.stock.search import JIT

    places = Places(memory, dict)
    places.cpu = lambda: cpu
    with contextlib.suppress(BareflowError):
        places.find(JIT)
        return any(start <= pc < start + size for start, size in known_code(memory, places).items())
    return False
