"""Who called whom, and how deep did the stack ever get?

A kernel of ours keeps a chain of saved EBPs, which is followed; of a stock kernel callers.py proves each caller.

Read budget: registers 1 packet, 1 per 2 KB of stack that the frames span, names as in names.py. The deepest use
is sought below ESP in steps of one packet, until one holds nothing but zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.absent import CANNOT_KNOW
from bareflow_gdb.guest.base.reading import optional
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.callers import call_before, find_caller
from bareflow_gdb.guest.code.prologue import FRAME_SET_UP, PUSH_EBP, RET
from bareflow_gdb.guest.machine.cpu import PAGED, mode_of, read_registers
from bareflow_gdb.guest.machine.exception import read_exception
from bareflow_gdb.guest.names.names import Names, Place, is_code
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.paging import Linear
from bareflow_gdb.memory.protocol import Memory

MOST_FRAMES = 64
_STEP = 2048
_UNBOUNDED = 64 << 10
_MOST_STEPS = 3
"""Packets below ESP that a search for the deepest use may cost, where reading costs any."""


@dataclass(frozen=True)
class Frame:
    """One function on the stack, the innermost first."""

    number: int
    ebp: Address
    """Its frame pointer; 0 = it has made no frame yet."""
    code: Address
    """EIP, or where it goes on when what it called returns."""
    place: Place


@dataclass(frozen=True)
class Stack:
    """The stack of the first CPU, or of the exception when only that is known."""

    source: str
    """"registers", "exception record", "given"."""
    eip: Address
    esp: Address
    ebp: Address
    top: Address
    """First address after the stack."""
    bottom: Address
    used: int
    """Bytes from ESP to the top."""
    deepest: Address
    """Lowest address that is not zero, as far as was looked."""
    deepest_used: int
    deepest_sure: bool
    """False: the search ended at its budget, it may have been deeper."""
    frames: tuple[Frame, ...]
    end: str
    """Why the chain ends."""
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_stack(
    memory: Memory,
    root: Root | None,
    names: Names,
    esp: int | None = None,
    ebp: int | None = None,
    eip: int | None = None,
) -> Stack:
    """The stack from the registers, from the exception record, or from what is given (EBP, or ESP and EBP).

    Raises BadData when there are no registers and nothing is given, or the CPU is in real mode; ReadError.
    """
    source, eip, esp, ebp, paged = _start(memory, root, esp, ebp, eip)
    if paged is not None:
        names.under(paged)
    if names.paged is not None:
        return _unbounded(names.paged, names, source, eip, esp, ebp)
    top, bottom = layouts.const("BF_STACK_TOP"), layouts.const("BF_STACK_BOTTOM")
    problems: list[str] = []
    if not bottom <= esp <= top:
        problems.append(f"ESP 0x{esp:08x} is outside the stack 0x{bottom:08x}-0x{top:08x}")
    if root is None:
        frames, end = _proven_frames(memory, names, eip, esp, ebp)
        over = names.symbols.at(esp)
        if over is not None and over.size:
            problems.append(f"the kernel's {over.name} (0x{over.address:08x}, {over.size} bytes) lies over the stack")
        # What is below the kernel's last byte never was stack.
        bottom = max(bottom, names.symbols.end_below(esp))
    else:

        def may_be_code(address: int) -> bool:
            return is_code(memory, address)

        frames, end = _frames(memory, names, eip, esp, ebp, _in_stack, may_be_code)
    deepest, sure = _deepest(memory, min(max(esp, bottom), top), top, bottom)
    sure = sure and (root is not None or bool(names.symbols))
    if deepest < bottom + _STEP:
        problems.append(f"the stack was used down to 0x{deepest:08x}: it may have run over its bottom")
    return Stack(
        source=source,
        eip=Address(eip),
        esp=Address(esp),
        ebp=Address(ebp),
        top=Address(top),
        bottom=Address(bottom),
        used=max(0, top - esp) if esp >= bottom else 0,
        deepest=Address(deepest),
        deepest_used=top - deepest,
        deepest_sure=sure,
        frames=tuple(frames),
        end=end,
        problems=tuple(problems),
    )


def _start(
    memory: Memory, root: Root | None, esp: int | None, ebp: int | None, eip: int | None
) -> tuple[str, int, int, int, CpuRegisters | None]:
    """Where to begin: source, EIP, ESP, EBP; and the registers, when those of now are meant."""
    if ebp is not None:
        return "given", eip or 0, ebp if esp is None else esp, ebp, None
    notes: list[str] = []
    raw = read_registers(memory, notes)
    if raw is not None:
        if mode_of(raw) == "real":
            stack = raw.segments["ss"].base + raw.general["esp"]
            raise BadData(
                f"the CPU is in real mode with its stack at 0x{stack:05x}: BIOS and boot loader keep no frames; "
                f"the kernel's stack exists from stage `kernel` on"
            )
        return "registers", raw.general["eip"], esp or raw.general["esp"], raw.general["ebp"], raw
    record = None
    if root is not None and root.exception:
        record = optional(lambda: read_exception(memory, root), notes)
    if record is not None and record.count:
        found = record.registers
        return "exception record", found.eip, found.esp, found.ebp, None
    raise BadData(f"{', and '.join(notes)}; or give a frame pointer with --ebp")


def _unbounded(memory: Linear, names: Names, source: str, eip: int, esp: int, ebp: int) -> Stack:
    """The stack of a kernel with paging: at linear addresses, and where it may lie nobody has told."""
    bottom = esp & ~0xFFF
    top = bottom
    while top < bottom + _UNBOUNDED and memory.physical(top) is not None:
        top += 0x1000

    def in_stack(address: int) -> bool:
        return bottom <= address <= top - 8

    def is_mapped(address: int) -> bool:
        return memory.physical(address) is not None

    frames, end = _frames(memory, names, eip, esp, ebp, in_stack, is_mapped)
    return Stack(
        source=source,
        eip=Address(eip),
        esp=Address(esp),
        ebp=Address(ebp),
        top=Address(top),
        bottom=Address(bottom),
        used=max(0, top - esp),
        deepest=Address(esp),
        deepest_used=max(0, top - esp),
        deepest_sure=False,
        frames=tuple(frames),
        end=end,
        problems=() if top > bottom else (f"ESP 0x{esp:08x} is not mapped by the page tables",),
        notes=(f"{PAGED}; the stack's bounds are not known: the mapped pages from ESP on are taken for it",),
    )


def _frames(
    memory: Memory,
    names: Names,
    eip: int,
    esp: int,
    ebp: int,
    in_stack: Callable[[int], bool],
    may_be_code: Callable[[int], bool],
) -> tuple[list[Frame], str]:
    frames: list[Frame] = []

    def add(frame: int, code: int) -> None:
        frames.append(Frame(len(frames), Address(frame), Address(code), names.place(code, returned_to=bool(frames))))

    caller = _frameless_caller(memory, eip, esp) if eip and may_be_code(eip) and in_stack(esp) else 0
    if eip:
        add(0 if caller else ebp, eip)
    if caller:
        add(ebp, caller)
    at = ebp
    while len(frames) < MOST_FRAMES:
        if at == 0:
            return frames, "the first frame: its caller's EBP is 0"
        if not in_stack(at):
            return frames, f"EBP 0x{at:08x} is outside the stack"
        try:
            above, back = struct.unpack("<II", memory.read(at, 8, "stack frame"))
        except ReadError as error:
            return frames, str(error)
        if back == 0:
            return frames, "the first frame: its return address is 0"
        add(above, back)
        if not may_be_code(back):
            return (frames, f"the return address 0x{back:08x} at 0x{at + 4:08x} is not code: the frame is damaged")
        if above and above <= at:
            return frames, f"the frame at 0x{at:08x} leads back to 0x{above:08x}: a cycle, or damaged"
        at = above
    return frames, f"only {MOST_FRAMES} frames are shown"


def _proven_frames(memory: Memory, names: Names, eip: int, esp: int, ebp: int) -> tuple[list[Frame], str]:
    """The same of a kernel that need not keep a chain of EBPs: each caller is proven, by a call or by a frame table."""
    frames: list[Frame] = []
    top = layouts.const("BF_STACK_TOP")
    if not eip:
        # Only a frame pointer is given: whose it is, the word above it tells if a call stands before that.
        try:
            above, eip = struct.unpack("<II", memory.read(ebp, 8, "stack frame"))
        except ReadError as error:
            return frames, str(error)
        if call_before(memory, eip) is None:
            return frames, f"0x{eip:08x} at 0x{ebp + 4:08x} is no return address: no call stands before it"
        esp, ebp = ebp + 8, above
    while len(frames) < MOST_FRAMES:
        place = names.place(eip, returned_to=bool(frames))
        frames.append(Frame(len(frames), Address(ebp), Address(eip), place))
        if esp >= top:
            return frames, f"the first frame: the stack is empty above 0x{esp:08x}"
        entry = names.entry(eip - 1 if len(frames) > 1 else eip)
        caller = find_caller(memory, eip, esp, ebp, entry, names.symbols.tables)
        if caller is None or caller.esp <= esp:
            return frames, f"the caller of 0x{eip:08x} {CANNOT_KNOW}: no call of it is on the stack, and no frame table"
        eip, esp, ebp = caller.address, caller.esp, caller.ebp
    return frames, f"only {MOST_FRAMES} frames are shown"


def _in_stack(address: int) -> bool:
    return layouts.const("BF_STACK_BOTTOM") <= address <= layouts.const("BF_STACK_TOP") - 8


def _frameless_caller(memory: Memory, eip: int, esp: int) -> int:
    """The return address when the function at EIP has no frame yet, or no more; else 0."""
    try:
        code = memory.read(eip - 1, 3, "code at EIP")
        first, second = struct.unpack("<II", memory.read(esp, 8, "stack at ESP"))
    except ReadError:
        return 0
    if code[1:2] in (PUSH_EBP, RET):
        return int(first)
    if code == FRAME_SET_UP:
        return int(second)
    return 0


def _deepest(memory: Memory, esp: int, top: int, bottom: int) -> tuple[int, bool]:
    """The lowest address in use ever, and whether the search came to its end."""
    lowest, at = min(esp, top), esp // _STEP * _STEP
    costs = memory.packets
    steps = 0
    while at >= bottom:
        if costs and steps > _MOST_STEPS:
            return lowest, False
        try:
            data = memory.read(at, min(_STEP, top - at), "stack") if at < top else b""
        except ReadError:
            return lowest, False
        used = len(data) - len(data.lstrip(b"\0"))
        if used < len(data):
            lowest = min(lowest, at + used)
        elif data and at + _STEP <= esp:
            break
        at -= _STEP
        steps += 1
    return lowest, True
