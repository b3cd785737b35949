"""What does an interrupt handler do to the registers of the code that it interrupts? Read off its instructions.

The way through a stub is followed from its gate to IRET: unconditional jumps are taken, branches are not. What its
calls lead to is searched for instructions of the x87 and of vectors only.
Read budget: 1 packet per 2 KB of stubs, 1 per function that they call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.callee_saved import written
from bareflow_gdb.guest.code.code_diff import disassembler
from bareflow_gdb.guest.code.paths import reachable
from bareflow_gdb.memory.protocol import Memory

_MOST_STEPS = 96
_LONGEST_INSTRUCTION = 15
_ENDS = ("iret", "ret", "hlt", ".byte")
_FUNCTION_BYTES = 1024
_MOST_FUNCTIONS = 48
_ALL = ("eax", "ecx", "edx", "ebx", "ebp", "esi", "edi")
_BY_A_CALL = ("eax", "ecx", "edx")
"""What a function may change (System V ABI for i386, 3.2.1)."""
_STATE_SAVED = ("fxsave", "fnsave", "fsave", "xsave")
_VECTOR = re.compile(r"\b(?:[xyz]?mm[0-7]|st(?:\(\d\))?)\b")
_X87 = re.compile(r"f(?!x?save|xrstor|rstor|nsave|wait)[a-z0-9]+")
_TABLE = re.compile(r"dword ptr \[e\w\w\*4 \+ (0x[0-9a-f]+)\]")
_VECTORS = 48
_STATE, _NOT_SAVED = "x87 and vector state", "is not saved before"


@dataclass(frozen=True)
class Spoilt:
    """Something of the interrupted code that it does not get back."""

    what: str
    """"EBX", or "x87 and vector state"."""
    address: Address
    instruction: str
    how: str


class Handlers:
    """Looks through the handlers of one memory; what several have in common is decoded once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._decoded: dict[int, tuple[int, str, str]] = {}
        self._searched: dict[tuple[int, ...], Spoilt | None] = {}

    def spoilt_by(self, handler: int) -> Iterator[Spoilt]:
        """One for each register at most, and one for the state of the x87. Raises ReadError."""
        kept: set[str] = set()
        restored: set[str] = set()
        changed: dict[str, tuple[int, str]] = {}
        calls: list[int] = []
        state_saved = state_told = False
        for address, mnemonic, operands in self._way(handler):
            text = f"{mnemonic} {operands}".rstrip()
            if mnemonic.startswith(_STATE_SAVED):
                state_saved = True
            elif mnemonic.startswith("pusha"):
                kept.update(set(_ALL) - changed.keys())
            elif mnemonic == "push":
                kept.update({operands} - changed.keys())
            elif mnemonic.startswith("popa"):
                restored.update(_ALL)
            elif mnemonic == "pop":
                restored.add(operands)
            elif mnemonic.startswith("iret"):
                yield from _lost(changed, kept, restored)
            else:
                if not state_saved and not state_told and _is_state(mnemonic, operands):
                    state_told = True
                    yield Spoilt(_STATE, Address(address), text, _NOT_SAVED)
                if mnemonic == "call":
                    calls += self._targets(operands)
                for register in _BY_A_CALL if mnemonic == "call" else written(mnemonic, operands):
                    changed.setdefault(register, (address, text))
                    restored.discard(register)
        if not state_saved and not state_told and (found := self._state_in(tuple(calls))) is not None:
            yield found

    def _way(self, handler: int) -> Iterator[tuple[int, str, str]]:
        """The instructions in the order in which they run; ends at IRET, at a halt, or where it cannot be followed."""
        at, seen = handler, set[int]()
        while at not in seen and len(seen) < _MOST_STEPS:
            seen.add(at)
            if at not in self._decoded:
                code = self._memory.read(at, _LONGEST_INSTRUCTION, "interrupt handler")
                _, *decoded = next(disassembler(32).disasm_lite(code, at))
                self._decoded[at] = (decoded[0], decoded[1], decoded[2])
            size, mnemonic, operands = self._decoded[at]
            yield at, mnemonic, operands
            if mnemonic.startswith(_ENDS) or (mnemonic == "jmp" and not operands.startswith("0x")):
                return
            at = int(operands, 16) if mnemonic == "jmp" else at + size

    def _targets(self, operands: str) -> list[int]:
        """What a call leads to: one function, or those of a table."""
        if operands.startswith("0x"):
            return [int(operands, 16)]
        match = _TABLE.fullmatch(operands)
        table = int(match[1], 16) if match else 0
        return [word for index in range(_VECTORS) if (word := self._word(table + 4 * index))] if match else []

    def _state_in(self, calls: tuple[int, ...]) -> Spoilt | None:
        """The first instruction of the x87 or of vectors in functions that are called, or that those call."""
        if calls not in self._searched:
            self._searched[calls] = next(self._states(calls), None)
        return self._searched[calls]

    def _states(self, calls: tuple[int, ...]) -> Iterator[Spoilt]:
        waiting, seen = list(calls), set[int]()
        while waiting and len(seen) < _MOST_FUNCTIONS:
            entry = waiting.pop(0)
            if entry in seen:
                continue
            seen.add(entry)
            try:
                code = self._memory.read(entry, _FUNCTION_BYTES, "function of an interrupt handler")
            except BareflowError:
                continue
            for step in sorted(reachable(code, entry, entry, lambda _: None).values(), key=lambda one: one.address):
                if step.mnemonic.startswith(_STATE_SAVED):
                    break
                if _is_state(step.mnemonic, step.operands):
                    yield Spoilt(_STATE, Address(step.address), str(step), _NOT_SAVED)
                    return
                if step.mnemonic == "call":
                    waiting += [step.leaves] if step.leaves is not None else self._targets(step.operands)

    def _word(self, address: int) -> int:
        try:
            return read_word(self._memory, address, "table of functions")
        except BareflowError:
            return 0


def _lost(changed: dict[str, tuple[int, str]], kept: set[str], restored: set[str]) -> Iterator[Spoilt]:
    """The registers that were changed, and are not what they were."""
    for register, (at, instruction) in changed.items():
        if register not in kept:
            yield Spoilt(register.upper(), Address(at), instruction, _NOT_SAVED)
        elif register not in restored:
            yield Spoilt(register.upper(), Address(at), instruction, "is saved, and not restored before IRET")


def _is_state(mnemonic: str, operands: str) -> bool:
    return bool(_VECTOR.search(operands) or _X87.fullmatch(mnemonic))
