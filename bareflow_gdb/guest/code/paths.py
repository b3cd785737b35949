"""Which instructions can code come to from its entry? Branch by branch, so that data among them is no code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.code.code_diff import LONGEST, disassembler

NO_INSTRUCTION = ".byte"
"""The mnemonic of bytes that are none."""
_MOST_TARGETS = 512
_ENDS = ("jmp", "ljmp", "ret", "retf", "iretd", "iret", "hlt", "ud0", "ud1", "ud2", NO_INSTRUCTION)
_AHEAD = 16
"""Instructions that are decoded where a branch leads between those of the sweep."""
_TABLE = re.compile(r"dword ptr \[e\w\w\*4 \+ (0x[0-9a-f]+)\]")


@dataclass(frozen=True)
class Step:
    """One instruction, and where it may go on."""

    address: int
    size: int
    mnemonic: str
    operands: str
    after: tuple[int, ...]
    """The instructions of this code that may be next; after a call the one behind it."""
    calls: int | None = None
    """The function of this code that it calls."""
    leaves: int | None = None
    """Where a branch or call goes that leaves this code."""

    def __str__(self) -> str:
        return f"{self.mnemonic} {self.operands}".rstrip()


def reachable(code: bytes, address: int, entry: int, word: Callable[[int], int | None]) -> dict[int, Step]:
    """The instructions by address. `word` gives what is in memory, for tables of branch targets; None = nothing."""
    code = code[:LONGEST]
    end = address + len(code)
    swept = {at: (at, size, mnemonic, text) for at, size, mnemonic, text in disassembler(32).disasm_lite(code, address)}
    found: dict[int, Step] = {}
    waiting = [entry]
    while waiting:
        at = waiting.pop()
        while address <= at < end and at not in found:
            if at not in swept:
                ahead = disassembler(32).disasm_lite(code[at - address :], at, _AHEAD)
                for start, size, mnemonic, text in ahead:
                    swept.setdefault(start, (start, size, mnemonic, text))
            if at not in swept:
                break
            step = _step(*swept[at], address, end, word)
            found[at] = step
            waiting += [target for target in (*step.after[1:], step.calls) if target is not None]
            if not step.after:
                break
            at = step.after[0]
    return found


def functions(steps: Mapping[int, Step], entry: int) -> tuple[int, ...]:
    """Where the functions of this code begin: its entry, and what it calls of its own."""
    called = {step.calls for step in steps.values() if step.calls is not None and step.calls in steps}
    return (entry, *sorted(called - {entry}))


def _step(
    at: int, size: int, mnemonic: str, operands: str, start: int, end: int, word: Callable[[int], int | None]
) -> Step:
    following = at + size
    name = mnemonic.rpartition(" ")[2]
    target = int(operands, 16) if operands.startswith("0x") and _branches(name) else None
    inside = target is not None and start <= target < end
    leaves = None if inside else target
    if name == "call":
        # A call of the next instruction is how code learns where it is.
        of_function = inside and target != following
        return Step(at, size, mnemonic, operands, (following,), target if of_function else None, leaves)
    if name.startswith(_ENDS[:2]):
        after = (target,) if inside and target is not None else tuple(_table(operands, start, end, word))
        return Step(at, size, mnemonic, operands, after, None, leaves)
    if name in _ENDS:
        return Step(at, size, mnemonic, operands, ())
    if target is not None:
        return Step(at, size, mnemonic, operands, (following, target) if inside else (following,), None, leaves)
    return Step(at, size, mnemonic, operands, (following,))


def _branches(name: str) -> bool:
    return name.startswith(("j", "loop")) or name == "call"


def _table(operands: str, start: int, end: int, word: Callable[[int], int | None]) -> Iterator[int]:
    """The targets of a jump through a table, as long as they are in this code."""
    match = _TABLE.fullmatch(operands)
    if match is None:
        return
    table = int(match[1], 16)
    for index in range(_MOST_TARGETS):
        target = word(table + 4 * index)
        if target is None or not start <= target < end:
            return
        yield target
