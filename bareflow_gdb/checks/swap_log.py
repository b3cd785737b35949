"""Does the kernel print the same swaps as its tables have, in the same order?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, SERIAL, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.log_lines import Recompiled, Stored, swap_lines

_Step = tuple[str, int | None, int]


def _look(subject: Subject) -> Iterator[Finding]:
    announced: Recompiled | None = None
    printed: list[_Step] = []
    for said in swap_lines(subject.log):
        if isinstance(said, Recompiled):
            announced = said
        elif isinstance(said, Stored):
            if announced is None or announced.to_level != said.level:
                told = f"O{announced.to_level} of {announced.function}" if announced else "nothing"
                yield _finding(
                    f"line {said.line} of the log tells of a swap to O{said.level}", f"{told} was announced before"
                )
            elif announced is not None:
                printed.append((announced.function, announced.from_level, announced.to_level))
            announced = None
    swaps = subject.kernel.swaps(every=True)
    if not (subject.still and subject.log_is_whole and swaps.complete) or swaps.publishing:
        return
    kept = [(swap.function, swap.from_level, swap.to_level) for swap in swaps.swaps]
    for at, (one, other) in enumerate(itertools.zip_longest(printed, kept)):
        if one != other:
            yield _finding(f"swap {at + 1} is printed otherwise than it is recorded", f"{_text(one)}, {_text(other)}")
            return


def _text(step: _Step | None) -> str:
    return "none" if step is None else f"{step[0]} from O{step[1]} to O{step[2]}"


def _finding(what: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        evidence=evidence,
        consequence="one of the two accounts of what ran when is wrong",
        next_step="`serial` and `swaps` show both",
    )


CHECK = Check("swap_log", "each printed swap against the recorded ones", (ROOT, SERIAL), _look)
