"""Was each tier asked for at its threshold, and has every hot function got its next tier?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.jit import JitFunction


def _look(subject: Subject) -> Iterator[Finding]:
    thresholds = subject.jit.thresholds
    for swap in subject.kernel.swaps(every=True).swaps:
        if swap.call is None or swap.reason != "threshold" or not 1 <= swap.to_level <= len(thresholds):
            continue
        wanted = thresholds[swap.to_level - 1]
        if swap.call != wanted:
            yield Finding(
                what=f"{swap.function} asked for O{swap.to_level} at call {swap.call:,}",
                evidence=f"the threshold is {wanted:,}",
                consequence="the adaptive JIT counts or compares wrongly",
                next_step="`swaps` shows all of them; look at the kernel's comparison with its thresholds",
            )
    if not subject.lacks_disk:
        yield from _behind(subject)


def _behind(subject: Subject) -> Iterator[Finding]:
    """Functions that stay where they are, all of one tier in one finding."""
    chosen = {one.function for one in subject.versions if one.state == "published" and one.chosen}
    behind: dict[int, list[JitFunction]] = {}
    for function in subject.jit.functions:
        if function.index in chosen:
            continue
        due = function.next_threshold
        free = function.mail_state in ("", "idle") and function.control in ("", "allow")
        if due is not None and function.calls > due and free:
            behind.setdefault(function.level, []).append(function)
    for level, functions in behind.items():
        one = min(functions, key=lambda function: function.calls)
        least = "at least " if any(function.calls != one.calls for function in functions) else ""
        yield Finding(
            severity=WARNING,
            what=", ".join(function.name for function in functions)
            + f" {'stay' if len(functions) > 1 else 'stays'} at O{level} after {least}{one.calls:,} calls",
            evidence=f"O{level + 1} is due at {one.next_threshold:,}",
            consequence="slower code runs than could",
            next_step="`log` or `serial` says why the tier was refused; `recompile` makes it on the host",
        )


CHECK = Check(
    "thresholds", "calls at which tiers were asked for, and functions far beyond their next one", (ROOT,), _look
)
