"""To which divisor does a kernel's code set COM1?

The UART keeps it where only who sets its DLAB bit can read it: QEMU's monitor tells no such register without writing
another, which a guest that runs would notice. The code that sets it is straight: numbers into AL and DX, and `out`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.code_diff import disassembler

COM1 = 0x3F8
_DIVISOR_LOW, _DIVISOR_HIGH, _LINE_CONTROL = COM1, COM1 + 1, COM1 + 3
_DLAB = 0x80
_NAMES = (b"\xba\xfb\x03\x00\x00", b"\xba\xfb\x03")
"""mov edx, 0x3fb; mov dx, 0x3fb behind its prefix."""
_BEFORE, _BYTES, _MOST_PLACES = 16, 160, 64
_WIDE = {"al": "eax", "ax": "eax", "dx": "edx", "dl": "edx", "bl": "ebx", "cl": "ecx", "cx": "ecx", "bx": "ebx"}
_LOW = {"al": 0xFF, "dl": 0xFF, "bl": 0xFF, "cl": 0xFF, "ax": 0xFFFF, "bx": 0xFFFF, "cx": 0xFFFF, "dx": 0xFFFF}
_ALL = 0xFFFFFFFF
_ENDS = ("ret", "call", "jmp", "iretd")


@dataclass(frozen=True)
class Programmed:
    """Code that sets the divisor."""

    divisor: int
    code: Address
    """Where the first of its bytes is written."""


def programmed(code: bytes, address: int) -> Programmed | None:
    """The first place in a kernel's bytes, which lie at `address`, that sets COM1's divisor to a known number."""
    at = -1
    for _ in range(_MOST_PLACES):
        at = code.find(_NAMES[1], at + 1)
        if at < 0:
            return None
        wide = code[at : at + len(_NAMES[0])] == _NAMES[0]
        if not wide and code[at - 1 : at] != b"\x66":
            continue
        start = at if wide else at - 1
        # AL may have got its number before DX did: where the instruction before begins is not known.
        for first in (start, *range(start - 1, max(start - _BEFORE, -1), -1)):
            found = _divisor(_outs(code[first : first + _BYTES], address + first))
            if found is not None:
                return found
    return None


def _divisor(outs: Iterator[tuple[int, int, int | None]]) -> Programmed | None:
    is_open, low, high, where = False, None, None, 0
    for place, port, value in outs:
        if port == _LINE_CONTROL and value is not None and value & _DLAB:
            is_open = True
        elif port == _LINE_CONTROL and is_open:
            break
        elif is_open and port == _DIVISOR_LOW:
            low, where = value, place
        elif is_open and port == _DIVISOR_HIGH:
            high = value
    return Programmed(high << 8 | low, Address(where)) if low is not None and high is not None else None


def _outs(code: bytes, address: int) -> Iterator[tuple[int, int, int | None]]:
    """Place, port and value of each `out dx, al`; a value that is not known is None, such a port leaves it out."""
    known: dict[str, int] = {}
    for place, _, name, operands in disassembler(32).disasm_lite(code, address):
        if name in _ENDS or name == ".byte":
            return
        if name == "out" and operands == "dx, al":
            port, value = _get(known, "dx"), _get(known, "al")
            if port is not None:
                yield place, port, value
            continue
        _follow(known, name, operands.split(", "))


def _get(known: dict[str, int], operand: str) -> int | None:
    """A register's value, or a number."""
    wide = _WIDE.get(operand, operand)
    if wide in known:
        return known[wide] & _LOW.get(operand, _ALL)
    try:
        return int(operand, 0) & _ALL
    except ValueError:
        return None


def _follow(known: dict[str, int], name: str, operands: list[str]) -> None:
    """What an instruction leaves in its first operand."""
    target = operands[0]
    wide, mask = _WIDE.get(target, target), _LOW.get(target, _ALL)
    if name in ("test", "cmp", "push", "nop") or not wide or "[" in target:
        return
    value = _get(known, operands[-1])
    old = _get(known, target)
    if name == "xor" and operands[0] == operands[-1]:
        result: int | None = 0
    elif name in ("mov", "movzx"):
        result = value
    elif name in ("inc", "dec") and old is not None:
        result = old + (1 if name == "inc" else -1)
    elif name in ("add", "sub", "or", "and", "xor") and old is not None and value is not None:
        step = {"add": old + value, "sub": old - value, "or": old | value, "and": old & value, "xor": old ^ value}
        result = step[name]
    else:
        result = None
    if result is None:
        known.pop(wide, None)
    else:
        # The rest of a wide register that was never known does not matter: only AL and DX are written.
        known[wide] = known.get(wide, 0) & ~mask & _ALL | result & mask
