"""Does a function's count of calls stand still, and why? By its code, the end of the run, and what was printed."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import STOCK, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.jit_code import BUFFER_BYTES, JitCode
from bareflow_gdb.guest.code.log_lines import calls_told
from bareflow_gdb.guest.stock.jit import THRESHOLDS


def _look(subject: Subject) -> Iterator[Finding]:
    kernel = subject.stock
    assert kernel is not None
    # First what was printed: a guest that runs counts on meanwhile, and is not behind its own words.
    told = calls_told(subject.log) if subject.printed is not None else {}
    entries = kernel.records.entries().entries
    codes = kernel.jit_code()
    over = kernel.places.halted()
    for entry in entries:
        printed = told.get(entry.name, 0)
        # The profiler counts a call after it has returned: the one that runs now is still to come.
        behind = printed > entry.calls + 1
        since = THRESHOLDS[entry.level - 1] if 0 < entry.level <= len(THRESHOLDS) else 0
        cause = _cause(subject, [code for code in codes if code.function == entry.name])
        stands = entry.calls == since and cause and (over or entry.freed or printed > entry.calls)
        if behind or stands:
            moment = f"since its swap to O{entry.level}" if since and entry.calls == since else "behind the calls"
            if not entry.calls:
                moment = "from the first call on"
            yield Finding(
                what=f"the count of {entry.name} stands still {moment}",
                where=f"{entry.calls:,} calls",
                evidence="; ".join(filter(None, (_printed(printed, entry.calls), cause))),
                consequence="calls are made that nobody counts: no further threshold is ever reached",
                next_step=f"`disas {entry.name}` shows the code; save the register in the code generator's prologue"
                if cause
                else f"`bf break jit:{entry.name}` stops at its next call; look at what the profiler is given",
            )


def _printed(printed: int, counted: int) -> str:
    return f"it printed call {printed:,}, {counted:,} are counted" if printed > counted else ""


def _cause(subject: Subject, codes: list[JitCode]) -> str:
    """The first register that its code loses, that which runs now before the others, in words."""
    for code in sorted(codes, key=lambda code: not code.published):
        if 0 < code.size <= BUFFER_BYTES:
            data = subject.kernel.memory.read(code.code, code.size, f"code of {code.title}")
            for lost in not_saved(data, code.code):
                return (
                    f"{code.title} overwrites {lost.register.upper()} (`{lost.instruction}` at 0x{lost.address:08x}) "
                    "without saving it, and its caller, who counts, may keep its place in it"
                )
    return ""


CHECK = Check("frozen_count", "counts of calls against swaps, code and what was printed", (STOCK,), _look)
