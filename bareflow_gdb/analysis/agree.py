"""Do the guest's log and the event ring, or its memory, tell the same story of its swaps?

The log: as guest/code/log_lines.py reads it. The ring: PUBLISH events; memory: the version table, or the entries of a
stock kernel. They are written by different code at different moments, so a difference is a defect of the guest, or a
loss.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bareflow_gdb.guest.code.log_lines import Recompiled, Stored, swap_lines
from bareflow_gdb.guest.code.swaps import Swap


@dataclass(frozen=True)
class Step:
    """One swap, as both sources can tell it."""

    function: str
    from_level: int | None
    to_level: int

    def __str__(self) -> str:
        before = "?" if self.from_level is None else f"O{self.from_level}"
        return f"{self.function} {before} -> O{self.to_level}"


@dataclass(frozen=True)
class Agreement:
    """Both stories compared; they agree when `disagreements` is empty."""

    agreed: int
    """Swaps that both tell, in the same order."""
    log_swaps: int
    other_swaps: int
    other: str
    """What the log was compared with: "ring", "watch", "tables" or "memory"."""
    disagreements: tuple[str, ...]
    uncovered: tuple[str, ...] = ()
    """What only one of them can tell, because it begins earlier or ends later."""

    @property
    def agree(self) -> bool:
        """Whether both tell the same story."""
        return not self.disagreements


def log_steps(serial: str, *, whole: bool = True) -> tuple[list[Step], list[str]]:
    """The swaps that a serial log tells in their order, and what is odd about the log by itself.

    One that is not `whole` may begin between the two lines of a swap.
    """
    steps: list[Step] = []
    odd: list[str] = []
    announced: Step | None = None
    for said in swap_lines(serial):
        if isinstance(said, Recompiled):
            announced, whole = Step(said.function, said.from_level, said.to_level), True
        elif isinstance(said, Stored):
            if announced is None and not whole:
                continue
            where = f"line {said.line} of the log swaps to O{said.level}"
            if announced is None:
                odd.append(f"{where} without a [RECOMPILE] before it")
            elif announced.to_level != said.level:
                odd.append(f"{where} after announcing {announced}")
            else:
                steps.append(announced)
            announced = None
    return steps, odd


def ring_steps(swaps: Iterable[Swap], told: Sequence[Step]) -> list[Step]:
    """The swaps that events and version table tell, in their order.

    Where they do not tell which level ran before (a trace that begins later), the log is believed.
    """
    before = {(step.function, step.to_level): step.from_level for step in reversed(told)}
    return [
        Step(
            swap.function,
            before.get((swap.function, swap.to_level)) if swap.from_level is None else swap.from_level,
            swap.to_level,
        )
        for swap in swaps
    ]


def compare(serial: str, swaps: Sequence[Swap], other: str = "ring", *, same_stretch: bool = True) -> Agreement:
    """Log against ring or memory.

    Not of the `same_stretch` of time: a log of its own may begin later or end earlier than memory, or go on.
    """
    told, disagreements = log_steps(serial, whole=same_stretch)
    seen = ring_steps(swaps, told)
    uncovered: list[str] = []
    agreed = 0
    the = other if other == "memory" else f"the {other}"
    matcher = difflib.SequenceMatcher(None, told, seen, autojunk=False)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            agreed += i_end - i
            continue
        at_an_end = i == j == 0 or (i_end == len(told) and j_end == len(seen))
        found = disagreements if same_stretch or kind == "replace" or not at_an_end else uncovered
        place = " at this place" if found is disagreements else ""
        found += [f"the log has {step}{place}, {the} does not" for step in told[i:i_end]]
        found += [f"{the} has {step}{place}, the log does not" for step in seen[j:j_end]]
    return Agreement(agreed, len(told), len(seen), other, tuple(disagreements), tuple(uncovered))
