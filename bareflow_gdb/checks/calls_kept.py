"""Does JIT code leave at its returns what belongs to its caller: stack, registers, flags, x87, vector state?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.callee_saved import not_saved


def _look(subject: Subject) -> Iterator[Finding]:
    for one in subject.walked:
        found = one.paths.broken
        # Registers that were never saved are told by what overwrites them.
        told = {lost.register.upper() for lost in not_saved(one.data, one.code.code)} if found else set()
        for broken in found:
            if broken.what.rpartition(" ")[2] in told:
                continue
            yield Finding(
                what=f"{one.code.title} does not keep what is its caller's: {broken.what}",
                where=f"0x{broken.address:08x}",
                evidence=f"`{broken.instruction}`, by every instruction on the way there from 0x{one.code.entry:08x}",
                consequence="what calls it goes on with a wrong stack, register or state",
                next_step=f"`disas {one.code.function}` shows the code; look at the code generator's prologue and "
                "epilogue",
            )


CHECK = Check(
    "calls_kept", "stack, registers, flags, x87 and vector state at every return of JIT code", (KERNEL,), _look
)
