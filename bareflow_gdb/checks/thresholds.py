"""Was each tier asked for at its threshold, and has every hot function got its next tier?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import WARNING, Finding


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
    behind = [
        function
        for function in subject.jit.functions
        if function.next_threshold is not None
        and function.calls > function.next_threshold
        and function.mail_state in ("", "idle")
        and function.control in ("", "allow")
    ]
    for function in behind:
        yield Finding(
            severity=WARNING,
            what=f"{function.name} stays at O{function.level} after {function.calls:,} calls",
            evidence=f"O{function.level + 1} is due at {function.next_threshold:,}; provider {function.provider}",
            consequence="it runs slower than it could",
            next_step="`log` or `serial` says why its tier was refused; `recompile` makes it on the host",
        )


CHECK = Check(
    "thresholds", "calls at which tiers were asked for, and functions far beyond their next one", (ROOT,), _look
)
