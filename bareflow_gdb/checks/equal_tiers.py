"""Does a swap change anything? Two tiers of one function that are the same code."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding


def _look(subject: Subject) -> Iterator[Finding]:
    for swap in subject.kernel.swaps().swaps:
        # One address for both is told by the records. Of two optimised tiers the code may well be the same.
        # A module that is loaded again is the same tier again.
        alike = swap.same_code and swap.old_code != swap.new_code and swap.from_level != swap.to_level
        if alike and (subject.stock is not None or not swap.from_level) and swap.reason != "rollback":
            yield Finding(
                severity=WARNING,
                what=f"O{swap.from_level} and O{swap.to_level} of {swap.function} are the same code",
                where=f"0x{swap.old_code:08x} and 0x{swap.new_code:08x}",
                evidence=f"the same {swap.code_size:,} bytes",
                consequence="the swap makes nothing faster",
                next_step=f"`disas {swap.function} --diff O{swap.from_level} O{swap.to_level}` compares them; look at "
                "what the code generator does with the level",
            )


CHECK = Check("equal_tiers", "the code of each tier against that of the tier before", (KERNEL,), _look)
