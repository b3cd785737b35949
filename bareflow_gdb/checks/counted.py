"""Do the three places that tell of swaps agree: the version table, the counters, what was printed?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, SERIAL, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.log_lines import Stored, swap_lines, swaps_only_counted


def _look(subject: Subject) -> Iterator[Finding]:
    if not subject.still:
        return
    counted = subject.counters.swap_count
    printed = sum(1 for said in swap_lines(subject.log) if isinstance(said, Stored)) + swaps_only_counted(subject.log)
    if counted < printed or (counted > printed and subject.log_is_whole):
        yield Finding(
            what=f"{counted:,} swaps are counted, {printed:,} were printed",
            evidence="each publishing store adds one to the counter, and prints one line",
            consequence="one of them is lost",
            next_step="`swaps` and `serial` show both",
        )
    total = subject.profile.total_calls
    added = sum(function.calls for function in subject.profile.functions)
    # A call that has not returned, and in an exception never will, is counted by its function only.
    if not added - 1 <= total <= added:
        yield Finding(
            what=f"the profiler counts {total:,} calls in all, its functions {added:,}",
            consequence="a call was counted twice, or lost",
            next_step="`profile` shows them",
        )


CHECK = Check("counted", "swaps and calls, as counted in two places and as printed", (ROOT, SERIAL), _look)
