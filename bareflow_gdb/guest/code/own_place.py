"""Which addresses does position-independent code compute from its own place?

It takes its place by `call` to the next instruction and `pop`, adds a number, and keeps the sum in registers and in its
frame; what a variable is reached by is that sum and a displacement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.code.paths import Step

_REGISTER = re.compile(r"e[abcd]x|e[sd]i|ebp")
_SLOT = re.compile(r"dword ptr \[ebp - (?:0x[0-9a-f]+|\d)\]")
_BASED = re.compile(r"\[(e\w\w)(?: \+ e\w\w(?:\*[248])?)?(?: (?P<sign>[+-]) (?P<step>0x[0-9a-f]+|\d))?\]")
_INDEXED = re.compile(r"\[e\w\w \+ e")
_LOSES = ("eax", "ecx", "edx")
"""What a call leaves behind is not what was there."""
_IMPLICIT = re.compile(
    r"cdq|cwde|mul|i?div|xchg|cpuid|rdtsc|rep\b.*|(?:lod|sto|mov|sca|cmp)s[bwd]|popal|cmpxchg.*|xadd"
)
"""These write registers that they do not name, or name second."""
_PARTS = {part: f"e{part[0]}x" for part in ("al", "ah", "bl", "bh", "cl", "ch", "dl", "dh")} | {
    word: f"e{word}" for word in ("ax", "bx", "cx", "dx", "si", "di", "bp")
}


@dataclass(frozen=True)
class Reached:
    """An address that an instruction uses, or only computes: for `lea`, or to add an index, which may be negative."""

    step: Step
    address: int
    uses: bool


def reached(steps: Mapping[int, Step]) -> Iterator[Reached]:
    """In the order of the code. What cannot be told is left out: a register is forgotten where a branch leads to."""
    order = [steps[at] for at in sorted(steps)]
    targets = {target for step in order if step.mnemonic.startswith("j") for target in step.after}
    slots = _kept_slots(order)
    known: dict[str, int] = {}
    place: int | None = None
    for step in order:
        if step.address in targets:
            known = {name: value for name, value in known.items() if name in slots}
        operands = step.operands.split(", ")
        at = _address(known, step.operands)
        if at is not None:
            yield Reached(step, at, step.mnemonic != "lea" and not _INDEXED.search(step.operands))
        if step.mnemonic == "call":
            place = step.address + step.size if operands[0] == hex(step.address + step.size) else None
            for name in _LOSES:
                known.pop(name, None)
            continue
        _follow(known, step, operands, at, place, slots)
        place = None


def _kept_slots(order: list[Step]) -> set[str]:
    """Words of the frame that are written once."""
    written = [step.operands.split(", ")[0] for step in order if step.mnemonic == "mov"]
    return {name for name in written if _SLOT.fullmatch(name) and written.count(name) == 1}


def _address(known: Mapping[str, int], operands: str) -> int | None:
    match = _BASED.search(operands)
    if match is None or match[1] not in known:
        return None
    step = int(match["step"] or "0", 0)
    return (known[match[1]] + (-step if match["sign"] == "-" else step)) & 0xFFFFFFFF


def _follow(
    known: dict[str, int], step: Step, operands: list[str], at: int | None, place: int | None, slots: set[str]
) -> None:
    target = _PARTS.get(operands[0], operands[0])
    if _IMPLICIT.fullmatch(step.mnemonic) or (step.mnemonic == "imul" and len(operands) == 1):
        for name in [name for name in known if name not in slots]:
            del known[name]
        return
    if step.mnemonic in ("cmp", "test", "push") or not (_REGISTER.fullmatch(target) or target in slots):
        return
    value = known.get(operands[-1])
    if target != operands[0]:
        known.pop(target, None)
    elif step.mnemonic == "pop" and place is not None:
        known[target] = place
    elif step.mnemonic == "mov" and len(operands) == 2 and value is not None:
        known[target] = value
    elif step.mnemonic == "lea" and at is not None:
        known[target] = at
    elif step.mnemonic in ("add", "sub") and target in known and re.fullmatch(r"0x[0-9a-f]+|\d", operands[-1]):
        number = int(operands[-1], 0)
        known[target] = (known[target] + (number if step.mnemonic == "add" else -number)) & 0xFFFFFFFF
    else:
        known.pop(target, None)
