"""Where does a stock kernel end its run? At a `hlt` with interrupts off, which its code shows wherever it stands.

QEMU's breakpoints change no memory, so one inside another instruction, or in data, is never hit and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError, ReadError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.stock.window import STACK

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.memory.protocol import Memory

_HLT = b"\xf4"
_LAST_WORDS = (b"\xfa\xf4", b"\xf4\xeb\xfd", b"\xf4\xeb\xfc")
"""cli, hlt; hlt and a jump back to it, or to the cli before it."""
_INTERRUPTS_ON = 1 << 9
_MOST = 64
_CHUNK = 0x10000
_STAGE_1 = 0x7C00


def has_halted(session: Session) -> bool:
    """Does the guest stand behind, or at, a `hlt` that no interrupt ends?"""
    eip = running.read_register("eip")
    if running.read_register("eflags") & _INTERRUPTS_ON:
        return False
    try:
        return session.memory.read(eip - 1, 1, "code before EIP") == _HLT
    except ReadError:
        return False


@contextmanager
def end_of_run(session: Session) -> Iterator[list[gdb.Breakpoint]]:
    """Breakpoints that stop the guest when it halts for good or is reset; raises BareflowError when it has halted."""
    if has_halted(session):
        raise BareflowError(
            "the guest has halted for good, nothing comes any more; boot it again, and then this script"
        )
    places = _halts(session)
    if not places:
        raise BareflowError(
            "where this kernel halts cannot be seen: it is not in memory yet; let it run until it is, or load its ELF "
            "with `file`"
        )
    with ExitStack() as stack:
        ends = [stack.enter_context(_at_halt(place)) for place in places]
        if kernel_base(session.memory) is not None:
            # Before it is loaded, stage 1 is still to come: that is its boot, not a reset.
            ends.append(stack.enter_context(running.internal_breakpoint(_STAGE_1, hardware=True)))
        yield ends


def _at_halt(place: int) -> AbstractContextManager[gdb.Breakpoint]:
    return running.internal_breakpoint(place, f"($eflags & {_INTERRUPTS_ON:#x}) == 0", hardware=True)


def refuse_reset() -> None:
    """Raises BareflowError when it was a reset that ended the run: a fault that nothing handles ends so."""
    if running.read_register("eip") == _STAGE_1:
        raise BareflowError(
            "the machine was reset, as it is by a fault that no handler takes; what came until then is complete"
        )


def _halts(session: Session) -> list[int]:
    """Every `hlt` of the kernel's code, or those with what stands beside a last one, if there are any."""
    pieces = list(_code(session))
    last = {
        start + at + words.index(_HLT) for start, code in pieces for words in _LAST_WORDS for at in _all(code, words)
    }
    return sorted(last or {start + at for start, code in pieces for at in _all(code, _HLT)})[:_MOST]


def _code(session: Session) -> Iterator[tuple[int, bytes]]:
    """What is in the place of the kernel's image; before it is loaded its ELF, if gdb has that, tells its code."""
    base = kernel_base(session.memory)
    if base is not None:
        yield from _loaded(session.memory, min(base, USUAL))
        return
    from bareflow_gdb.guest.names.elf import load_elf

    name = gdb.current_progspace().filename
    if name:
        with suppress(BareflowError):
            elf = load_elf(Path(name))
            yield elf.text_address, elf.text


def _loaded(memory: Memory, base: int) -> Iterator[tuple[int, bytes]]:
    for start in range(base, STACK, _CHUNK):
        try:
            yield start, memory.read(start, min(_CHUNK, STACK - start), "code of the kernel")
        except ReadError:
            return


def _all(code: bytes, wanted: bytes) -> Iterator[int]:
    at = code.find(wanted)
    while at >= 0:
        yield at
        at = code.find(wanted, at + 1)
