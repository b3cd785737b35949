"""Can the counted calls and cycles be: minimum, mean, maximum, total, and all of it within the time that passed?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.profiler import ProfiledFunction

_SLACK = 1.05
_WORD = 1 << 32


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.implausible:
        return
    profile = subject.profile
    for function in profile.functions:
        evidence = _impossible(function)
        if evidence:
            yield Finding(
                what=f"the cycles counted for {function.name} cannot be",
                evidence=evidence,
                consequence="minimum, mean, maximum and what is decided by them are wrong",
                next_step="`profile` shows them; look at the kernel's profiler",
            )
    total = sum(function.total_cycles for function in profile.functions)
    passed = _passed(subject)
    if passed and total > passed * _SLACK:
        yield Finding(
            what="more cycles are counted than have passed",
            evidence=f"{total:,} cycles in functions, {passed:,} since the run began",
            consequence="cycles per call are too high, for instance counted twice",
            next_step="`profile` shows them; look at the kernel's profiler",
        )


def _impossible(function: ProfiledFunction) -> str:
    calls, total = function.calls, function.total_cycles
    if not calls:
        return f"no call, {total:,} cycles" if total else ""
    if calls == 1 and not total:
        return ""  # The first call has not returned yet.
    if function.min_cycles is None:
        return f"{calls:,} calls, and the minimum was never set"
    if function.min_cycles > function.max_cycles:
        return f"the minimum {function.min_cycles:,} is above the maximum {function.max_cycles:,}"
    if not (calls - 1) * function.min_cycles <= total <= calls * function.max_cycles:
        least = (calls - 1) * function.min_cycles
        wraps = -(-(least - total) // _WORD)
        if total < min(least, _WORD) and total + wraps * _WORD <= calls * function.max_cycles:
            return (
                f"{calls:,} calls of at least {function.min_cycles:,} cycles cannot be {total:,} in all: the sum has "
                "overflowed 32 bits"
            )
        return (
            f"{calls:,} calls between {function.min_cycles:,} and {function.max_cycles:,} cycles cannot be "
            f"{total:,} cycles in all"
        )
    return ""


def _passed(subject: Subject) -> int:
    """TSC ticks of the run so far; 0 = not known. Every function is called by one processor, one at a time.

    After the run, too, each new version is called once: those calls took until the last version was first executed.
    """
    try:
        reached = {stage.name: stage.tsc for stage in subject.boot.stages if stage.tsc}
    except BareflowError:
        return 0
    if not {"idle", "running"} <= reached.keys():
        return 0
    try:
        latest = max((max(one.tsc_first, one.tsc_published) for one in subject.versions), default=0)
    except BareflowError:
        latest = 0
    if latest <= reached["idle"]:
        return reached["idle"] - reached["running"]
    longest = max((function.max_cycles for function in subject.profile.functions), default=0)
    return latest + longest - reached["running"]


CHECK = Check("statistics", "the profiler's calls and cycles against each other and the clock", (KERNEL,), _look)
