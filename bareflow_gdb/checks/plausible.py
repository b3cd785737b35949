"""Can the tables be, once the root's checksum is right? A kernel that was overwritten shows it in its counts."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.status import PoolLine


def _look(subject: Subject) -> Iterator[Finding]:
    counters = subject.counters
    most_functions = layouts.const("BF_MAX_FUNCTIONS")
    odd = []
    if counters.function_count > most_functions:
        odd.append(f"{counters.function_count:,} functions, the table has {most_functions}")
    if counters.swap_count > counters.version_count + 1_000_000 or (counters.swap_count and not counters.version_count):
        odd.append(f"{counters.swap_count:,} swaps of {counters.version_count:,} versions")
    if counters.version_count and not counters.function_count:
        odd.append(f"{counters.version_count:,} versions of no function")
    odd += [f"the {pool.kind} pool uses {pool.used:,} of its {pool.size:,} bytes" for pool in _full(subject)]
    nameless = sum(1 for function in subject.functions if not function.name)
    if nameless:
        odd.append(f"{nameless} functions without a name")
    if odd:
        yield Finding(
            what="the kernel's tables are implausible: something wrote over them",
            evidence="; ".join(odd),
            consequence="no other answer about this kernel can be relied on",
            next_step="`stack` shows whether the stack ran into them, `exception` what was taken last",
        )


def _full(subject: Subject) -> list[PoolLine]:
    return [pool for pool in subject.kernel.status().pools if pool.used > pool.size]


CHECK = Check("plausible", "counts and sizes of the kernel's tables against what is possible", (ROOT,), _look)
