"""Does what was published really run: the pointer, and an execution after the swap?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.being_published import BEING_PUBLISHED

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.jit import JitFunction

_IS_ON_ITS_WAY = ("requested", "compiling", "staged", "installing")


def _look(subject: Subject) -> Iterator[Finding]:
    for function in subject.jit.functions:
        published = next((one for one in function.versions if one.number == function.version), None)
        if published is None:
            continue
        title = code_name(function.name, published.level, published.number)
        if function.publishing is not None:
            yield _being_published(function, subject)
            continue
        if function.agrees is False:
            yield Finding(
                what=f"the swap to {title} did not take effect",
                where=f"code pointer 0x{function.slot:08x}",
                evidence=f"calls go to 0x{function.current_code:08x}, that version begins at 0x{published.entry:08x}",
                consequence="older code runs, whatever tier is shown",
                next_step=f"`disas {function.name}`, `jit`; look at the store that publishes (`bf step-swap`)",
            )
        elif not published.tsc_first and _calls_since(function.calls, published.level, subject):
            yield Finding(
                what=f"{title} was published and never executed",
                evidence=f"{function.calls:,} calls are counted, and its first execution has no time",
                consequence="either calls go elsewhere, or they are not counted where they begin",
                next_step=f"`bf break jit:{function.name}` stops at its next call",
            )


def _being_published(function: JitFunction, subject: Subject) -> Finding:
    """Of a guest that is stopped a note; of one that runs a finding, which is looked for again some moments later."""
    stuck = subject.runs
    return Finding(
        what=f"{BEING_PUBLISHED}: {function.publishing}{', and it does not end' if stuck else ''}",
        where=f"code pointer 0x{function.slot:08x}",
        evidence="the code pointer is stored, the records that tell of it are not",
        consequence="the guest stands inside the swap" if stuck else "the tables still tell of the old version",
        next_step="`stack` shows where" if stuck else "let it go on, and the tables follow",
        severity="error" if stuck else "note",
    )


def _calls_since(calls: int, level: int, subject: Subject) -> bool:
    """Were there calls after the publication? A threshold's version is published at that call."""
    return level > 0 and calls > subject.jit.thresholds[level - 1]


CHECK = Check("published", "code pointers and first executions of published versions", (ROOT,), _look)
