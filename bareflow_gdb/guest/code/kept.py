"""Does code leave at its return what belongs to its caller: stack, registers, flags, x87, vector state?

Followed along every path from the entry, without running it (System V ABI for i386, 3.2.1). What cannot be followed,
as a stack pointer that was computed, is not claimed. Code that calls functions of its own takes their effect over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.known import ALIGNED, CALLERS, Effect, Known, apply, number_of
from bareflow_gdb.guest.code.paths import Step, functions

_MOST_FUNCTIONS, _MOST_PASSES, _MOST_STEPS = 64, 3, 100_000
"""Far more than a compiler's code has; other code is not worth the time."""


@dataclass(frozen=True)
class Broken:
    """One thing that a return does not leave as it was."""

    what: str
    address: Address
    instruction: str


def not_kept(steps: Mapping[int, Step], entry: int) -> Iterator[Broken]:
    """One for each thing and function; `steps` are the instructions that the entry can come to."""
    starts = functions(steps, entry)[:_MOST_FUNCTIONS]
    meeting = {to for step in steps.values() if len(step.after) != 1 for to in step.after}
    meeting |= {step.after[0] for step in steps.values() if step.mnemonic == "jmp" and step.after}
    budget = iter(range(_MOST_STEPS))
    effects: dict[int, Effect] = {}
    for _ in range(_MOST_PASSES):
        walks = [_Walk(steps, start, effects, meeting, budget) for start in starts]
        found = {walk.start: walk.effect for walk in walks if walk.effect != Effect()}
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
        effects: Mapping[int, Effect],
        meeting: set[int],
        budget: Iterator[int],
    ) -> None:
        """`meeting` are the instructions to which a branch leads; `budget` ends before the patience does."""
        self.steps = steps
        self.start = start
        self.effects = effects
        self.effect = Effect()
        self.two_depths: Step | None = None
        self._ends: dict[int, Known] = {}
        self._meeting = meeting
        self._run(budget)

    def _run(self, budget: Iterator[int]) -> None:
        known: dict[int, Known] = {self.start: Known()}
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
                        self.effect = Effect(number_of(step.operands), state.x87)
                    break
                apply(step, state, self.effects)
                for to in step.after:
                    if (to in self._meeting or len(step.after) > 1) and self._meet(known, to, state):
                        waiting.append(to)
                if len(step.after) > 1 or step.after[0] in self._meeting:
                    break
                at = step.after[0]

    def _meet(self, known: dict[int, Known], to: int, state: Known) -> bool:
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

    def _wrong(self, state: Known, x87: bool) -> Iterator[tuple[str, str]]:
        if state.esp and state.esp > ALIGNED // 2:
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
