"""How are frames in JIT code found and named? `primes@O2 #3`, whatever debug information there is.

The unwinder acts only for a PC in the JIT pools and only where QEMU's RAM is read from the host, so that it
costs no packet at a stop; anywhere else gdb's own heuristics find EBP frames. The pools of a stock kernel lie in
its heap: there it acts when an earlier command has found the JIT's records. Every tier of ours begins with
`push ebp; mov ebp, esp` and ends with `ret`: the bytes at the PC tell whether the frame is set up. Code of a stock
kernel that begins otherwise is left by the return address that a call proves, or not at all. Names are
looked up by the frame filter, which gdb asks for a backtrace only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import gdb
import gdb.unwinder
from gdb.FrameDecorator import FrameDecorator

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.code.callers import Caller, find_caller
from bareflow_gdb.guest.code.prologue import FRAME_SET_UP, RET

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.code.jit_code import JitCode

NAME = "bareflow"
_PUSHES = {0x53: "ebx", 0x56: "esi", 0x57: "edi"}
_KEPT = ("ebp", "ebx", "esi", "edi")
# Bytes from an entry to the PC that are looked through for it.
_FURTHEST = 8192


def in_pools(address: int) -> bool:
    """Is the address in the pools that hold machine code, CODE and DATA? Only numbers are compared.

    The bounds are this project's memory map; a stock kernel has its pools inside its heap.
    """
    start = layouts.const("BF_POOL_CODE_BASE")
    return start <= address < layouts.const("BF_POOL_METADATA_BASE")


class _FrameId:
    """What identifies a frame: the stack pointer before the call, and the PC."""

    def __init__(self, sp: Any, pc: Any) -> None:
        self.sp = sp
        self.pc = pc


class JitUnwinder(gdb.unwinder.Unwinder):
    """EBP frames of JIT code, right in the first and the last instruction too."""

    def __init__(self, peek: Callable[[], Session]) -> None:
        super().__init__(NAME)
        self._peek = peek

    def __call__(self, pending: Any) -> Any:
        session = self._peek()
        # First what costs nothing, not even an import: this runs at every stop.
        if not session.reads_freely:
            return None
        address = int(pending.read_register("eip")) & 0xFFFFFFFF
        try:
            # Where there is debug information, its own frame tables know more.
            start = _start_of_code(session, address)
            if start is None or gdb.block_for_pc(address) is not None:
                return None
            return self._unwind(pending, address, max(address - _FURTHEST, start), session)
        except BareflowError:
            # Unreadable stack or code: gdb's own unwinders say what they can.
            return None

    def _unwind(self, pending: Any, pc: int, start: int, session: Session) -> Any:
        ebp = int(pending.read_register("ebp")) & 0xFFFFFFFF
        esp = int(pending.read_register("esp")) & 0xFFFFFFFF
        saved: dict[str, int] = {}
        if not in_pools(pc) and not session.memory.read(start, 3, "first instructions").startswith(FRAME_SET_UP):
            caller = find_caller(session.memory, pc, esp, ebp, start)
            return None if caller is None else _unwound(pending, pc, caller)
        code = session.memory.read(start, pc - start + len(FRAME_SET_UP), "code around the program counter")
        at = pc - start
        if code[at:].startswith((FRAME_SET_UP, RET)):
            return_at = esp
        elif at > 0 and code[at - 1 : at + 2] == FRAME_SET_UP:
            return_at, saved["ebp"] = esp + 4, esp
        else:
            return_at, saved["ebp"] = ebp + 4, ebp
            entry = code.rfind(FRAME_SET_UP, 0, at)
            saved |= _pushed(code[entry + len(FRAME_SET_UP) : at], ebp) if entry >= 0 else {}

        def word_at(address: int) -> int:
            return read_word(session.memory, address, "saved register")

        found = {name: word_at(at) for name, at in saved.items()}
        caller = Caller(word_at(return_at), return_at + 4, found.pop("ebp", ebp), 0)
        return _unwound(pending, pc, caller, found)


def _unwound(pending: Any, pc: int, caller: Caller, saved: dict[str, int] | None = None) -> Any:
    """What gdb wants of an unwinder; registers that were not saved are as they are."""
    word = gdb.lookup_type("unsigned int")
    sp = gdb.Value(caller.esp).cast(word)
    unwound = pending.create_unwind_info(_FrameId(sp, gdb.Value(pc).cast(word)))
    values = {"eip": caller.address, "esp": caller.esp, "ebp": caller.ebp, **(saved or {})}
    for name in ("eip", "esp", *_KEPT):
        value = values[name] if name in values else int(pending.read_register(name))
        unwound.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
    return unwound


def in_jit_code(session: Session, address: int) -> bool:
    """Is the address in code of the JIT, as far as that can be told without a packet?"""
    return _start_of_code(session, address) is not None


def _start_of_code(session: Session, address: int) -> int | None:
    """Where the code around the address may begin at the earliest; None when it is none of the JIT's."""
    if in_pools(address):
        return int(layouts.const("BF_POOL_CODE_BASE"))
    spans = session.stock_code.items()
    return next((int(start) for start, size in spans if start <= address < start + size), None)


def _pushed(code: bytes, ebp: int) -> dict[str, int]:
    """Where the registers are that the prologue has pushed so far."""
    found: dict[str, int] = {}
    for index, byte in enumerate(code):
        if byte not in _PUSHES:
            break
        found[_PUSHES[byte]] = ebp - 4 * (index + 1)
    return found


class JitFrame(FrameDecorator):
    """A frame in JIT code, under its name: function, tier and version."""

    def __init__(self, frame: Any, code: JitCode) -> None:
        super().__init__(frame)
        self._code = code

    def function(self) -> str:
        return self._code.title


class JitFrames:
    """gdb's frame filter: names the frames in JIT code."""

    def __init__(self, current: Callable[[], Session]) -> None:
        self.name = NAME
        self.enabled = True
        self.priority = 50
        self._current = current

    def filter(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Asks the guest only when a frame is outside every symbol of the kernel."""
        # Read when the first frame needs it.
        codes: tuple[JitCode, ...] | None = None
        for frame in frames:
            pc = int(frame.inferior_frame().pc()) & 0xFFFFFFFF
            code = None
            if _may_be_jit(frame.inferior_frame(), pc):
                from bareflow_gdb.guest.code.jit_code import code_at

                codes = self._read() if codes is None else codes
                code = code_at(codes, pc)
            yield frame if code is None else JitFrame(frame, code)

    def _read(self) -> tuple[JitCode, ...]:
        try:
            return self._current().guest.kernel().jit_code()
        except (BareflowError, gdb.error, ImportError):
            # A backtrace without these names is better than none.
            return ()


_JIT_FILE = re.compile(r"/jit-\d+\.elf$")


def _may_be_jit(frame: gdb.Frame, pc: int) -> bool:
    """In the pools; or, for kernels whose pools are in their heap, at no symbol of the kernel's code."""
    if in_pools(pc):
        return True
    table = frame.find_sal().symtab
    if table is not None:
        return bool(_JIT_FILE.search(table.objfile.filename or ""))
    return frame.name() is None or "@" in str(frame.name()) or _is_data(pc)


def _is_data(pc: int) -> bool:
    """Does gdb count the address to data of the kernel, as to a stock kernel's `heap`? No packet."""
    section = re.search(r" in section (\S+)", gdb.execute(f"info symbol {pc:#x}", to_string=True))
    return section is not None and section[1] != ".text"


def register(current: Callable[[], Session], peek: Callable[[], Session]) -> None:
    """Hooks both into gdb; `peek` gives the session as it is, asking and forgetting nothing."""
    gdb.unwinder.register_unwinder(None, JitUnwinder(peek), replace=True)
    gdb.frame_filters[NAME] = JitFrames(current)


def unregister() -> None:
    """Takes both back."""
    gdb.frame_filters.pop(NAME, None)
    gdb.frame_unwinders[:] = [item for item in gdb.frame_unwinders if item.name != NAME]
    gdb.invalidate_cached_frames()
