"""What does an instruction do to what is known of the stack, the registers, the flags and the x87?

What is not known may be anything. Nothing is run: an address is one that is counted from ESP at the function's entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bareflow_gdb.guest.code.callee_saved import FAMILIES, written
from bareflow_gdb.guest.code.paths import Step
from bareflow_gdb.guest.code.x87 import EMPTIES, depth_change

CALLERS = ("ebx", "esi", "edi", "ebp")
_SCRATCH = ("eax", "ecx", "edx")
_PUSHED = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
"""In the order of PUSHA."""
_PLACE = re.compile(r"\[(e\w\w)(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_MMX = re.compile(r"\bmm[0-7]\b")
_CONTROL_WORD, _MXCSR = "x87 control word", "MXCSR"
_SIZES = {"byte ": 1, "word ": 2, "qword ": 8, "xword ": 10, "tbyte ": 10, "xmmword ": 16, "ymmword ": 32}
_SAVES = {"fnstcw": _CONTROL_WORD, "fstcw": _CONTROL_WORD, "stmxcsr": _MXCSR, "vstmxcsr": _MXCSR}
_LOADS = {"fldcw": _CONTROL_WORD, "ldmxcsr": _MXCSR, "vldmxcsr": _MXCSR}

ALIGNED = -1 << 24
"""ESP after it was aligned: places above and below it are known from there on, as if far away from the entry."""

_MOST_PLACES = 256
"""Far more than a compiler's code has; other code is not worth the time."""

Value = str | int
"""What the caller had in a register or control word, by its name; or an address, counted from ESP at the entry."""


@dataclass
class Known:
    """What is known before an instruction; a register or place that is not here may hold anything."""

    esp: int | None = 0
    registers: dict[str, Value] = field(default_factory=lambda: {name: name for name in CALLERS})
    places: dict[int, Value] = field(default_factory=dict)
    x87: int | None = 0
    mmx: bool = False
    down: bool = False
    changed: frozenset[str] = frozenset()
    """Control words that are not the caller's."""

    def copy(self) -> Known:
        return Known(self.esp, dict(self.registers), dict(self.places), self.x87, self.mmx, self.down, self.changed)

    def joined(self, other: Known) -> Known:
        """What is known when either may be so."""
        return Known(
            self.esp if self.esp == other.esp else None,
            {name: value for name, value in self.registers.items() if other.registers.get(name) == value},
            {place: value for place, value in self.places.items() if other.places.get(place) == value},
            self.x87 if self.x87 == other.x87 else None,
            self.mmx or other.mmx,
            self.down or other.down,
            self.changed | other.changed,
        )


@dataclass(frozen=True)
class Effect:
    """What a function does to the stack and the x87 of who calls it."""

    pops: int = 0
    x87: int | None = 0


def apply(step: Step, state: Known, effects: Mapping[int, Effect]) -> None:
    """Changes what is known before the instruction to what is known behind it; `effects` are those of functions."""
    name = step.mnemonic.rpartition(" ")[2]
    first, _, second = (part.strip() for part in step.operands.partition(","))
    if name == "call":
        _call(step, state, effects)
    elif name in _STACK:
        _STACK[name](state, first, second)
    elif name in ("cld", "std"):
        state.down = name == "std"
    elif name in _SAVES:
        _store(state, first, _SAVES[name] if _SAVES[name] not in state.changed else None)
    elif name in _LOADS:
        kept = _load(state, first) == _LOADS[name]
        state.changed = state.changed - {_LOADS[name]} if kept else state.changed | {_LOADS[name]}
    elif name.startswith("f") or name == "emms":
        _x87(name, state)
    elif name in ("mov", "lea") or first == "esp":
        _move(state, name, first, second)
    elif name == "xchg" and first in FAMILIES and second in FAMILIES:
        _exchange(state, first, second)
    else:
        state.mmx = state.mmx or _MMX.search(step.operands) is not None
        for register in written(name, step.operands):
            state.registers.pop(register, None)
        _store(state, first, None) if first.endswith("]") and name not in _ONLY_READ else None


def _call(step: Step, state: Known, effects: Mapping[int, Effect]) -> None:
    if step.calls is None and step.leaves is None and step.operands.startswith("0x"):
        _push(state, "", "")
        return
    effect = effects.get(step.calls, Effect()) if step.calls is not None else Effect()
    for register in _SCRATCH:
        state.registers.pop(register, None)
    if state.esp is not None:
        state.esp += effect.pops
    state.x87 = None if state.x87 is None or effect.x87 is None else state.x87 + effect.x87


def _x87(name: str, state: Known) -> None:
    if name in EMPTIES:
        state.x87, state.mmx = 0, False
        if name in ("fninit", "finit"):
            state.changed |= {_CONTROL_WORD}
    elif state.x87 is not None:
        change = depth_change(name)
        state.x87 = None if change is None else state.x87 + change


_ONLY_READ = ("cmp", "test", "jmp", "push", "call", "comiss", "ucomiss", "comisd", "ucomisd")


def number_of(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _place(state: Known, operand: str) -> int | None:
    """Where on the stack an operand lies, counted from ESP at the entry."""
    match = _PLACE.search(operand)
    if match is None:
        return None
    base = state.esp if match[1] == "esp" else state.registers.get(match[1])
    if not isinstance(base, int):
        return None
    offset = int(match[3], 0) if match[3] else 0
    return base - offset if match[2] == "-" else base + offset


def _load(state: Known, operand: str) -> Value | None:
    place = _place(state, operand)
    return None if place is None else state.places.get(place)


def _store(state: Known, operand: str, value: Value | None) -> None:
    place = _place(state, operand)
    if place is None:
        return
    size = next((size for name, size in _SIZES.items() if operand.startswith(name)), 4)
    # What is stored may reach into the words beside it.
    for near in [one for one in state.places if place - _size(state.places[one]) < one < place + size]:
        del state.places[near]
    if value is not None and len(state.places) < _MOST_PLACES:
        state.places[place] = value


def _size(value: Value) -> int:
    return 2 if value == _CONTROL_WORD else 4


def _value(state: Known, operand: str) -> Value | None:
    return state.esp if operand == "esp" else state.registers.get(operand)


def _set(state: Known, register: str, value: Value | None) -> None:
    if register == "esp":
        state.esp = value if isinstance(value, int) else None
    elif value is None:
        state.registers.pop(FAMILIES.get(register, register), None)
    else:
        state.registers[register] = value


def _push(state: Known, first: str, _: str) -> None:
    if state.esp is None:
        return
    value = _value(state, first)
    state.esp -= 4
    state.places.pop(state.esp, None)
    if value is not None and len(state.places) < _MOST_PLACES:
        state.places[state.esp] = value


def _pop(state: Known, first: str, _: str) -> None:
    value = None if state.esp is None else state.places.get(state.esp)
    if state.esp is not None:
        state.esp += 4
    if first in FAMILIES or first == "esp":
        _set(state, first, value)


def _push_all(state: Known, _: str, __: str) -> None:
    before = state.esp
    for name in _PUSHED:
        _push(state, name, "")
    if before is not None:
        state.places[before - 20] = before


def _pop_all(state: Known, _: str, __: str) -> None:
    for name in reversed(_PUSHED):
        _pop(state, "" if name == "esp" else name, "")


def _push_flags(state: Known, _: str, __: str) -> None:
    _push(state, "", "")


def _pop_flags(state: Known, _: str, __: str) -> None:
    _pop(state, "", "")
    state.down = False


def _leave(state: Known, _: str, __: str) -> None:
    _set(state, "esp", state.registers.get("ebp"))
    _pop(state, "ebp", "")


def _enter(state: Known, first: str, _: str) -> None:
    _push(state, "ebp", "")
    _set(state, "ebp", state.esp)
    _add(state, -number_of(first))


def _add(state: Known, bytes_: int) -> None:
    state.esp = None if state.esp is None else state.esp + bytes_


def _move(state: Known, name: str, first: str, second: str) -> None:
    """`mov`, `lea`, and arithmetic with ESP."""
    if name == "lea":
        _set(state, first, _place(state, second) if "*" not in second else None)
    elif name == "mov" and first.endswith("]"):
        _store(state, first, _value(state, second))
    elif name == "mov":
        _set(state, first, _load(state, second) if second.endswith("]") else _value(state, second))
    elif name in ("add", "sub") and second[:1].isdigit():
        _add(state, number_of(second) if name == "add" else -number_of(second))
    elif name == "and":
        state.esp = ALIGNED
    elif name not in _ONLY_READ:
        state.esp = None


def _exchange(state: Known, first: str, second: str) -> None:
    one, other = _value(state, first), _value(state, second)
    _set(state, first, other)
    _set(state, second, one)


_STACK: Mapping[str, Callable[[Known, str, str], None]] = {
    "push": _push,
    "pop": _pop,
    "pushal": _push_all,
    "popal": _pop_all,
    "pushfd": _push_flags,
    "popfd": _pop_flags,
    "leave": _leave,
    "enter": _enter,
}
