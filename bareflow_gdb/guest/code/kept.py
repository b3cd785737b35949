"""Does code leave at its return what belongs to its caller: stack, registers, flags, x87, vector state?

Followed along every path from the entry, without running it (System V ABI for i386, 3.2.1). What cannot be followed,
as a stack pointer that was computed, is not claimed. Code that calls functions of its own takes their effect over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.callee_saved import FAMILIES, written
from bareflow_gdb.guest.code.paths import Step, functions
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

_ALIGNED = -1 << 24
"""ESP after it was aligned: places above and below it are known from there on, as if far away from the entry."""

_MOST_FUNCTIONS, _MOST_PASSES, _MOST_STEPS = 64, 3, 100_000
_MOST_PLACES = 256
"""Far more than a compiler's code has; other code is not worth the time."""

Value = str | int
"""What the caller had in a register or control word, by its name; or an address, counted from ESP at the entry."""


@dataclass(frozen=True)
class Broken:
    """One thing that a return does not leave as it was."""

    what: str
    address: Address
    instruction: str


@dataclass
class _State:
    """What is known before an instruction; a register or place that is not here may hold anything."""

    esp: int | None = 0
    registers: dict[str, Value] = field(default_factory=lambda: {name: name for name in CALLERS})
    places: dict[int, Value] = field(default_factory=dict)
    x87: int | None = 0
    mmx: bool = False
    down: bool = False
    changed: frozenset[str] = frozenset()
    """Control words that are not the caller's."""

    def copy(self) -> _State:
        return _State(self.esp, dict(self.registers), dict(self.places), self.x87, self.mmx, self.down, self.changed)

    def joined(self, other: _State) -> _State:
        """What is known when either may be so."""
        return _State(
            self.esp if self.esp == other.esp else None,
            {name: value for name, value in self.registers.items() if other.registers.get(name) == value},
            {place: value for place, value in self.places.items() if other.places.get(place) == value},
            self.x87 if self.x87 == other.x87 else None,
            self.mmx or other.mmx,
            self.down or other.down,
            self.changed | other.changed,
        )


@dataclass(frozen=True)
class _Effect:
    """What a function does to the stack and the x87 of who calls it."""

    pops: int = 0
    x87: int | None = 0


def not_kept(steps: Mapping[int, Step], entry: int) -> Iterator[Broken]:
    """One for each thing and function; `steps` are the instructions that the entry can come to."""
    starts = functions(steps, entry)[:_MOST_FUNCTIONS]
    meeting = {to for step in steps.values() if len(step.after) != 1 for to in step.after}
    meeting |= {step.after[0] for step in steps.values() if step.mnemonic == "jmp" and step.after}
    budget = iter(range(_MOST_STEPS))
    effects: dict[int, _Effect] = {}
    for _ in range(_MOST_PASSES):
        walks = [_Walk(steps, start, effects, meeting, budget) for start in starts]
        found = {walk.start: walk.effect for walk in walks if walk.effect != _Effect()}
        if found == effects:
            break
        # What a function does to the stack of its caller is known now.
        effects = found
    for walk in walks:
        yield from walk.broken(x87=walk.start == entry)


class _Walk:
    """One function, from its entry to its returns."""

    def __init__(
        self,
        steps: Mapping[int, Step],
        start: int,
        effects: Mapping[int, _Effect],
        meeting: set[int],
        budget: Iterator[int],
    ) -> None:
        """`meeting` are the instructions to which a branch leads; `budget` ends before the patience does."""
        self.steps = steps
        self.start = start
        self.effects = effects
        self.effect = _Effect()
        self.two_depths: Step | None = None
        self._ends: dict[int, _State] = {}
        self._meeting = meeting
        self._run(budget)

    def _run(self, budget: Iterator[int]) -> None:
        known: dict[int, _State] = {self.start: _State()}
        waiting = [self.start]
        while waiting:
            at = waiting.pop()
            state = known[at].copy()
            while at in self.steps:
                step = self.steps[at]
                if next(budget, None) is None:
                    # What was not gone through to its end is not claimed.
                    self._ends.clear()
                    return
                if not step.after or (step.leaves is not None and step.mnemonic == "jmp"):
                    self._ends[at] = state
                    if step.mnemonic.startswith("ret"):
                        self.effect = _Effect(_number(step.operands), state.x87)
                    break
                self._apply(step, state)
                for to in step.after:
                    if (to in self._meeting or len(step.after) > 1) and self._meet(known, to, state):
                        waiting.append(to)
                if len(step.after) > 1 or step.after[0] in self._meeting:
                    break
                at = step.after[0]

    def _meet(self, known: dict[int, _State], to: int, state: _State) -> bool:
        """Notes what is known at a place where paths meet; is that less than before?"""
        before = known.get(to)
        if before is None:
            known[to] = state.copy()
            return True
        joined = before.joined(state)
        if before.esp is not None and state.esp is not None and joined.esp is None:
            self.two_depths = self.two_depths or self.steps.get(to)
        if joined == before:
            return False
        known[to] = joined
        return True

    def broken(self, *, x87: bool) -> Iterator[Broken]:
        told: set[str] = set()
        lost = any(state.esp is None for state in self._ends.values())
        if self.two_depths is not None and lost:
            told.add("stack")
            yield self._broken("its stack has two depths where two ways meet", self.two_depths)
        for at, state in sorted(self._ends.items()):
            step = self.steps[at]
            leaving = step.mnemonic.startswith("ret") or step.leaves is not None
            if not leaving:
                continue
            for kind, what in self._wrong(state, x87):
                if kind not in told:
                    told.add(kind)
                    yield self._broken(what, step)

    def _wrong(self, state: _State, x87: bool) -> Iterator[tuple[str, str]]:
        if state.esp and state.esp > _ALIGNED // 2:
            where = "too low" if state.esp < 0 else "too high"
            yield "stack", f"it returns with its stack {abs(state.esp)} bytes {where}"
        if state.esp == 0:
            for name in CALLERS:
                if state.registers.get(name) != name:
                    yield name, f"it returns without its caller's {name.upper()}"
        if state.down:
            yield "down", "it returns with the direction flag set"
        if x87 and state.x87:
            yield "x87", f"it returns with {state.x87:+} values on the x87 stack"
        if state.mmx:
            yield "mmx", "it returns with MMX in use: the x87 stack is full for its caller"
        for name in sorted(state.changed):
            yield name, f"it returns with another {name}"

    @staticmethod
    def _broken(what: str, step: Step) -> Broken:
        return Broken(what, Address(step.address), str(step))

    def _apply(self, step: Step, state: _State) -> None:
        name = step.mnemonic.rpartition(" ")[2]
        first, _, second = (part.strip() for part in step.operands.partition(","))
        if name == "call":
            self._call(step, state)
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
            self._x87(name, state)
        elif name in ("mov", "lea") or first == "esp":
            _move(state, name, first, second)
        elif name == "xchg" and first in FAMILIES and second in FAMILIES:
            _exchange(state, first, second)
        else:
            state.mmx = state.mmx or _MMX.search(step.operands) is not None
            for register in written(name, step.operands):
                state.registers.pop(register, None)
            _store(state, first, None) if first.endswith("]") and name not in _ONLY_READ else None

    def _call(self, step: Step, state: _State) -> None:
        if step.calls is None and step.leaves is None and step.operands.startswith("0x"):
            _push(state, "", "")
            return
        effect = self.effects.get(step.calls, _Effect()) if step.calls is not None else _Effect()
        for register in _SCRATCH:
            state.registers.pop(register, None)
        if state.esp is not None:
            state.esp += effect.pops
        state.x87 = None if state.x87 is None or effect.x87 is None else state.x87 + effect.x87

    @staticmethod
    def _x87(name: str, state: _State) -> None:
        if name in EMPTIES:
            state.x87, state.mmx = 0, False
            if name in ("fninit", "finit"):
                state.changed |= {_CONTROL_WORD}
        elif state.x87 is not None:
            change = depth_change(name)
            state.x87 = None if change is None else state.x87 + change


_ONLY_READ = ("cmp", "test", "jmp", "push", "call", "comiss", "ucomiss", "comisd", "ucomisd")


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _place(state: _State, operand: str) -> int | None:
    """Where on the stack an operand lies, counted from ESP at the entry."""
    match = _PLACE.search(operand)
    if match is None:
        return None
    base = state.esp if match[1] == "esp" else state.registers.get(match[1])
    if not isinstance(base, int):
        return None
    offset = int(match[3], 0) if match[3] else 0
    return base - offset if match[2] == "-" else base + offset


def _load(state: _State, operand: str) -> Value | None:
    place = _place(state, operand)
    return None if place is None else state.places.get(place)


def _store(state: _State, operand: str, value: Value | None) -> None:
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


def _value(state: _State, operand: str) -> Value | None:
    return state.esp if operand == "esp" else state.registers.get(operand)


def _set(state: _State, register: str, value: Value | None) -> None:
    if register == "esp":
        state.esp = value if isinstance(value, int) else None
    elif value is None:
        state.registers.pop(FAMILIES.get(register, register), None)
    else:
        state.registers[register] = value


def _push(state: _State, first: str, _: str) -> None:
    if state.esp is None:
        return
    value = _value(state, first)
    state.esp -= 4
    state.places.pop(state.esp, None)
    if value is not None and len(state.places) < _MOST_PLACES:
        state.places[state.esp] = value


def _pop(state: _State, first: str, _: str) -> None:
    value = None if state.esp is None else state.places.get(state.esp)
    if state.esp is not None:
        state.esp += 4
    if first in FAMILIES or first == "esp":
        _set(state, first, value)


def _push_all(state: _State, _: str, __: str) -> None:
    before = state.esp
    for name in _PUSHED:
        _push(state, name, "")
    if before is not None:
        state.places[before - 20] = before


def _pop_all(state: _State, _: str, __: str) -> None:
    for name in reversed(_PUSHED):
        _pop(state, "" if name == "esp" else name, "")


def _push_flags(state: _State, _: str, __: str) -> None:
    _push(state, "", "")


def _pop_flags(state: _State, _: str, __: str) -> None:
    _pop(state, "", "")
    state.down = False


def _leave(state: _State, _: str, __: str) -> None:
    _set(state, "esp", state.registers.get("ebp"))
    _pop(state, "ebp", "")


def _enter(state: _State, first: str, _: str) -> None:
    _push(state, "ebp", "")
    _set(state, "ebp", state.esp)
    _add(state, -_number(first))


def _add(state: _State, bytes_: int) -> None:
    state.esp = None if state.esp is None else state.esp + bytes_


def _move(state: _State, name: str, first: str, second: str) -> None:
    """`mov`, `lea`, and arithmetic with ESP."""
    if name == "lea":
        _set(state, first, _place(state, second) if "*" not in second else None)
    elif name == "mov" and first.endswith("]"):
        _store(state, first, _value(state, second))
    elif name == "mov":
        _set(state, first, _load(state, second) if second.endswith("]") else _value(state, second))
    elif name in ("add", "sub") and second[:1].isdigit():
        _add(state, _number(second) if name == "add" else -_number(second))
    elif name == "and":
        state.esp = _ALIGNED
    elif name not in _ONLY_READ:
        state.esp = None


def _exchange(state: _State, first: str, second: str) -> None:
    one, other = _value(state, first), _value(state, second)
    _set(state, first, other)
    _set(state, second, one)


_STACK: Mapping[str, Callable[[_State, str, str], None]] = {
    "push": _push,
    "pop": _pop,
    "pushal": _push_all,
    "popal": _pop_all,
    "pushfd": _push_flags,
    "popfd": _pop_flags,
    "leave": _leave,
    "enter": _enter,
}
