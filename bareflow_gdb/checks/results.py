"""Does each function return what it should?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding


def _look(subject: Subject) -> Iterator[Finding]:
    returned = {function.name for function in subject.profile.functions if function.total_cycles}
    for function in subject.functions:
        if function.name in returned and function.last_result != function.expected:
            yield Finding(
                what=f"{function.name} returned {function.last_result:,}",
                evidence=f"{function.expected:,} is the result for its default arguments",
                consequence="its code, or what was expected, is wrong",
                next_step=f"`disas {function.name}` shows its code, `swaps` since when it runs",
            )


CHECK = Check("results", "each function's last result against the expected one", (ROOT,), _look)
