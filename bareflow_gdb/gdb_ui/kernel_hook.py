"""How is a language model stopped before one of its kernels? By a hook that it calls before each, while it is wanted.

The hook's bit of the mask is set as long as there is a breakpoint for it: an undisturbed guest does not call it.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.gdb_ui.slots import exported
from bareflow_gdb.guest.base.reading import read_word

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

HOOK = "bareflow_hook_kernel"
_wanted: dict[int, Session] = {}
"""The breakpoints on the hook, by number, and whose guest has it."""


def stop_before(session: Session, layer: int, function: int | None) -> gdb.Breakpoint:
    """An ordinary breakpoint where the model is about to run this kernel of a layer, None = its first one.

    There, the words behind the return address on the stack are the function, the layer, and the kernels before it.
    Raises BareflowError.
    """
    which = "($esp + 12) == 0" if function is None else f"($esp + 4) == {function:d}"
    breakpoint = gdb.Breakpoint(f"*0x{exported(session, HOOK):x}")
    try:
        breakpoint.condition = f"*(unsigned int *) ($esp + 8) == {layer:d} && *(unsigned int *) {which}"
        breakpoint.commands = "if $_bf_at_kernel()\nend"
        _call(session, wanted=True)
    except BaseException:
        breakpoint.delete()
        raise
    if not _wanted:
        gdb.events.breakpoint_deleted.connect(_deleted)
        gdb.events.gdb_exiting.connect(_exiting)
    _wanted[breakpoint.number] = session
    session.bound.append(breakpoint)
    return breakpoint


def _deleted(breakpoint: gdb.Breakpoint) -> None:
    session = _wanted.pop(breakpoint.number, None)
    if session is None:
        return
    if not _wanted:
        gdb.events.breakpoint_deleted.disconnect(_deleted)
        gdb.events.gdb_exiting.disconnect(_exiting)
    if session not in _wanted.values():
        _no_more(session)


def _exiting(event: Any) -> None:  # noqa: ARG001 - gdb's signature
    for session in _wanted.values():
        _no_more(session)


def _no_more(session: Session) -> None:
    # A guest that is gone has no mask; one that runs where its memory cannot be written calls the hook in vain.
    with contextlib.suppress(BareflowError, gdb.error, OSError):
        _call(session, wanted=False)


def _call(session: Session, *, wanted: bool) -> None:
    """Has the guest call the hook, or not."""
    root = session.guest.kernel().need_interface("it runs no language model")
    at, bit = root.address + layouts.offset("bf_root", "hook_mask"), layouts.const("BF_HOOK_KERNEL")
    mask = read_word(session.memory, at, "hook mask")
    session.memory.write(at, struct.pack("<I", mask | bit if wanted else mask & ~bit), "hook mask")


class AtKernelFunction(gdb.Function):
    """Tells which kernel of which layer is about to run; for the suite's own use."""

    def __init__(self, current: Callable[[], Session]) -> None:
        super().__init__("_bf_at_kernel")
        self._current = current

    def invoke(self) -> bool:
        try:
            say(self._words())
        except (BareflowError, gdb.error) as error:
            raise gdb.GdbError(f"which kernel is about to run cannot be told: {error}") from error
        return False

    def _words(self) -> str:
        from bareflow_gdb.guest.model.inference import inference_record, job_name

        session = self._current()
        session.refresh()
        esp = running.read_register("esp")
        function, layer, job = struct.unpack("<III", session.memory.read(esp + 4, 12, "arguments of the hook"))
        names = list(session.guest.kernel().slots())
        name = names[function] if function < len(names) else f"function {function}"
        position = inference_record(session.memory).position
        of = f" of {job_name(job)}" if job_name(job) else ""
        return f"layer {layer}: {name}{of} is about to run, position {position:,}"
