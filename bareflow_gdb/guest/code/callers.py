"""Who called the function at this program counter? Only a caller that is proven, never one that merely looks like it.

A return address stands behind a call instruction. That call leads to the entry of the function that runs, or it is
an indirect one and stands exactly where the function's own first instructions leave room for it. Where neither is so,
the caller cannot be known. Where the kernel's ELF has frame tables, they tell instead.
Read budget: 1 packet per 2 KB of stack that is looked through, 1 to 2 for code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.code.prologue import FRAME_SET_UP, RET
from bareflow_gdb.memory.protocol import Memory

_LARGEST_FUNCTION = 0x4000
_CHUNK = 2048
_SAVED = {0x53: "ebx", 0x55: "ebp", 0x56: "esi", 0x57: "edi"}
_ENDBR = bytes.fromhex("f30f1efb")
_SET_UP_TOO = bytes.fromhex("8bec")
_PADDING = (b"\x90", b"\xcc", b"\x66", b"\x0f\x1f", b"\x2e", b"\x8d", b"\0")


@dataclass(frozen=True)
class Call:
    """The instruction before a return address; `target` None = through a pointer."""

    target: int | None


@dataclass(frozen=True)
class Caller:
    """Where a function returns to, and what ESP and EBP are then."""

    address: int
    esp: int
    ebp: int
    entry: int
    """Of the function that returns; 0 = not known."""


@dataclass(frozen=True)
class FrameRule:
    """What a frame table says at one program counter: the caller's ESP, and where EBP was saved, from there."""

    register: str
    offset: int
    ebp_at: int | None


class Tables(Protocol):
    """Frame tables of an ELF."""

    def rule(self, address: int) -> FrameRule | None: ...


@dataclass(frozen=True)
class _Entry:
    """What a function's first instructions do."""

    saved: tuple[str, ...]
    """Registers in the order of their pushes."""
    frame: bool
    """EBP is set up."""
    reserved: int
    """Bytes below all that."""

    @property
    def bytes(self) -> int:
        return 4 * len(self.saved) + self.reserved


def call_before(memory: Memory, address: int) -> Call | None:
    """The call instruction that ends at this address (Intel SDM volume 2A, CALL); None when there is none."""
    try:
        code = memory.read(address - 7, 7, "code before a return address") if address >= 7 else b""
    except ReadError:
        return None
    if len(code) == 7 and code[2] == 0xE8:
        return Call(address + struct.unpack("<i", code[3:])[0] & 0xFFFFFFFF)
    return Call(None) if any(_is_indirect(code[-size:]) for size in (2, 3, 4, 6, 7)) else None


def _is_indirect(code: bytes) -> bool:
    """FF /2 of exactly this length?"""
    if len(code) < 2 or code[0] != 0xFF or code[1] >> 3 & 7 != 2:
        return False
    mode, base = code[1] >> 6, code[1] & 7
    with_index = mode != 3 and base == 4
    displacement = {0: 4 if base == 5 else 0, 1: 1, 2: 4, 3: 0}[mode]
    return len(code) == 2 + with_index + displacement


def find_caller(
    memory: Memory, pc: int, esp: int, ebp: int, entry: int = 0, tables: Tables | None = None, top: int | None = None
) -> Caller | None:
    """The caller of the function at `pc`, None when it cannot be known. `entry` is where that begins, if known.

    `top` is where its stack ends.
    """
    end = layouts.const("BF_STACK_TOP") if top is None else top
    try:
        rule = tables.rule(pc) if tables is not None else None
        if rule is not None:
            return _by_table(memory, rule, esp, ebp, entry)
        if entry:
            return _of_known(memory, pc, esp, ebp, entry, end)
        return _of_unknown(memory, pc, esp, ebp, end)
    except ReadError:
        return None


def _by_table(memory: Memory, rule: FrameRule, esp: int, ebp: int, entry: int) -> Caller | None:
    cfa = (esp if rule.register == "esp" else ebp) + rule.offset & 0xFFFFFFFF
    address = _word(memory, cfa - 4)
    saved = ebp if rule.ebp_at is None else _word(memory, cfa + rule.ebp_at)
    return Caller(address, cfa, saved, entry) if call_before(memory, address) is not None else None


def _of_known(memory: Memory, pc: int, esp: int, ebp: int, entry: int, top: int) -> Caller | None:
    begins = _prologue(memory, entry, pc)
    leaving = _epilogue(memory, pc, esp)
    if leaving is not None:
        at, saved_at = leaving
        return _proven(memory, at, ebp if saved_at is None else _word(memory, saved_at), entry)
    if begins.frame:
        return _proven(memory, ebp + 4, _word(memory, ebp), entry)
    # What it has pushed as arguments lies below; where it does not take them back now, a call of this very function
    # tells where they end.
    room = esp + begins.bytes + _arguments(memory, pc)
    exact = _proven(memory, room, ebp, entry)
    if exact is not None:
        return replace(exact, ebp=_saved_ebp(memory, begins, room, ebp))
    for at, address in _words(memory, esp + begins.bytes, top):
        call = call_before(memory, address)
        if call is not None and call.target == entry:
            return Caller(address, at + 4, _saved_ebp(memory, begins, at, ebp), entry)
    return None


def _of_unknown(memory: Memory, pc: int, esp: int, ebp: int, top: int) -> Caller | None:
    """Nothing says where the function begins: the calls on the stack may."""
    leaving = _epilogue(memory, pc, esp)
    places = [leaving[0]] if leaving is not None else [ebp + 4] if esp <= ebp < top - 4 else []
    for at in places:
        address = _word(memory, at)
        call = call_before(memory, address)
        target = call.target if call is not None else None
        if target is not None and _holds(memory, target, pc):
            return _of_known(memory, pc, esp, ebp, target, top)
    for at, address in _words(memory, esp, top):
        call = call_before(memory, address)
        if call is None or call.target is None or not _holds(memory, call.target, pc):
            continue
        found = _of_known(memory, pc, esp, ebp, call.target, top)
        return found if found is not None and found.esp == at + 4 else None
    return None


def _arguments(memory: Memory, pc: int) -> int:
    """Bytes of arguments that the instruction at `pc` takes off the stack: the C calling convention's caller does."""
    code = memory.read(pc, 3, "code at the program counter")
    return code[2] if code[:2] == b"\x83\xc4" and code[2] < 0x80 else 0


def _proven(memory: Memory, at: int, ebp: int, entry: int) -> Caller | None:
    address = _word(memory, at)
    call = call_before(memory, address)
    if call is None or call.target not in (None, entry):
        return None
    return Caller(address, at + 4, ebp, entry)


def _holds(memory: Memory, start: int, pc: int) -> bool:
    """Can a function that begins at `start` reach to `pc`, with no end of a function between them?"""
    if not start <= pc < start + _LARGEST_FUNCTION:
        return False
    try:
        code = memory.read(start, pc - start, "code of a function") if pc > start else b""
    except ReadError:
        return False
    at = code.find(RET)
    while at >= 0:
        after = start + at + 1
        rest = code[at + 1 : at + 1 + (-after % 16)]
        # Functions begin at multiples of 16; what is between them is padding.
        if at + 1 + len(rest) <= len(code) and (not rest or rest.startswith(_PADDING)):
            return False
        at = code.find(RET, at + 1)
    return True


def _prologue(memory: Memory, entry: int, pc: int) -> _Entry:
    """What the function has pushed when it is at `pc`: its first pushes of registers that it keeps for its caller."""
    code = memory.read(entry, min(max(pc - entry, 0), 64), "first instructions of a function") if pc > entry else b""
    at = len(_ENDBR) if code.startswith(_ENDBR) else 0
    saved: list[str] = []
    frame, reserved = False, 0
    while at < len(code):
        if code[at] in _SAVED:
            saved.append(_SAVED[code[at]])
            at += 1
        elif saved == ["ebp"] and not frame and code[at : at + 2] in (FRAME_SET_UP[1:], _SET_UP_TOO):
            frame = True
            at += 2
        elif code[at : at + 2] == b"\x83\xec" and at + 3 <= len(code):
            reserved += code[at + 2]
            break
        elif code[at : at + 2] == b"\x81\xec" and at + 6 <= len(code):
            reserved += int.from_bytes(code[at + 2 : at + 6], "little")
            break
        else:
            break
    return _Entry(tuple(saved), frame, reserved)


def _epilogue(memory: Memory, pc: int, esp: int) -> tuple[int, int | None] | None:
    """At a function's last instructions: where the return address is, and where EBP was saved if it is not back yet."""
    code = memory.read(pc, 24, "code at the program counter")
    at, where, saved_at = 0, esp, None
    while at < len(code):
        if code[at : at + 1] == RET:
            return where, saved_at
        if code[at : at + 2] == b"\x83\xc4" and at + 3 <= len(code) and code[at + 2] < 0x80:
            where, at = where + code[at + 2], at + 3
        elif code[at : at + 2] == b"\x81\xc4" and at + 6 <= len(code):
            where, at = where + int.from_bytes(code[at + 2 : at + 6], "little"), at + 6
        elif 0x58 <= code[at] <= 0x5F and code[at] != 0x5C:
            saved_at = where if code[at] == 0x5D else saved_at
            where, at = where + 4, at + 1
        else:
            return None
    return None


def _saved_ebp(memory: Memory, begins: _Entry, return_at: int, ebp: int) -> int:
    if "ebp" not in begins.saved:
        return ebp
    return _word(memory, return_at - 4 * (begins.saved.index("ebp") + 1))


def _words(memory: Memory, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The words of a stack from the innermost one with their addresses, read as far as they are looked at."""
    at = start
    while at + 4 <= end:
        size = min(_CHUNK, end - at) // 4 * 4
        for index, (word,) in enumerate(struct.iter_unpack("<I", memory.read(at, size, "stack"))):
            yield at + 4 * index, word
        at += size


def _word(memory: Memory, address: int) -> int:
    return int.from_bytes(memory.read(address & 0xFFFFFFFF, 4, "stack"), "little")
