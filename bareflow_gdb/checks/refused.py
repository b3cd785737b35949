"""What did the kernel refuse: modules, tiers, bitcode, the disk, memory? It prints each, and goes on without."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import SERIAL, Subject
from bareflow_gdb.guest.base.finding import Finding

# What is printed, what was refused, and what follows from it.
_LINES = (
    (r"\[DISK\] (?P<where>\S+) was not loaded()", "a module of the disk", "the module embedded in the kernel runs"),
    (r"\[CACHE\] (?P<where>\S+) refused: (.*)", "a tier of the disk", "its function stays at the tier below"),
    (r"\[BITCODE\] (?P<where>\S+) refused: (.*)", "bitcode of the disk", "its function cannot be recompiled"),
    (r"\[RECOMPILE\] (?P<where>\S+: O\d) (?:refused|rejected): (.*)", "a tier", "its function stays at the tier below"),
    (r"\[ERROR\] Module (?P<where>[^:]*): (.*)", "a module", "what it replaces stays as it was"),
    (r"\[FAT16\] (?P<where>)Not a FAT16 volume: (.*)", "the second disk", "no module or tier is read from it"),
    (
        r"\[FAT16\] (?P<where>\S+): (cannot be read .*|a size of .*|its cluster chain .*)",
        "a file of the disk",
        "the kernel goes on without it",
    ),
    (r"\[FAT16\] (?P<where>)(The .* cannot be read)", "the second disk", "no module or tier is read from it"),
    (
        r"\[ATA\] (?P<where>Reading sectors \d+ to \d+) failed: (.*)",
        "the disk's controller a read",
        "a file is missing",
    ),
    (r"\[heap\] (?P<where>malloc\(\d+\)) failed: (.*)", "the heap an allocation", "what needed it was not done"),
    (
        r"\[POOL\] (?P<where>0x\S+) is not a used block of the (\S+) pool: not freed",
        "to free a block twice, or one that never was",
        "who still uses the block, or frees it, is wrong",
    ),
    (r"(?P<where>\S+) pool allocation failed()", "a JIT pool an allocation", "what needed it was not done"),
)
_PATTERNS = tuple((re.compile(line), what, consequence) for line, what, consequence in _LINES)
_TESTED = re.compile(r"\[MODULE-TEST\]|\[POOL\] Test")
"""Self-tests have the kernel refuse on purpose, and print afterwards whether it did."""
NO_BITCODE = re.compile(r"\[RECOMPILE\] \S+: O\d rejected: no bitcode", re.MULTILINE)
MOST = 20
_NAMED = 4
_A_TIER = "the kernel refused a tier"


def _look(subject: Subject) -> Iterator[Finding]:
    found = _tiers_together(_refused(subject))
    yield from found[:MOST]
    if len(found) > MOST:
        yield Finding(
            what=f"the kernel refused {len(found) - MOST} things more", next_step="`serial` shows all of them"
        )


def _refused(subject: Subject) -> list[Finding]:
    """A finding for each different line; a disk that is not there is a finding of its own."""
    found: Counter[Finding] = Counter()
    pending: list[Finding] = []
    for line in subject.log.splitlines():
        if _TESTED.match(line):
            pending.clear()
        if subject.lacks_disk and NO_BITCODE.match(line):
            continue
        for pattern, what, consequence in _PATTERNS:
            match = pattern.match(line)
            if match is not None:
                pending.append(
                    Finding(
                        what=f"the kernel refused {what}",
                        where=match["where"],
                        evidence=f"it printed {line.strip()!r}",
                        consequence=consequence,
                        next_step="`serial` shows what it printed before; make the file or the disk image again",
                    )
                )
                break
        else:
            found.update(pending)
            pending.clear()
    found.update(pending)
    return list(found)


def _tiers_together(found: list[Finding]) -> list[Finding]:
    """Tiers that were refused for one reason are one finding."""
    by_reason: dict[str, list[Finding]] = {}
    for one in found:
        reason = one.evidence.partition(f"{one.where} ")[2] if one.what == _A_TIER else str(one)
        by_reason.setdefault(reason, []).append(one)
    return [_together(same) for same in by_reason.values()]


def _together(same: list[Finding]) -> Finding:
    if len(same) == 1:
        return same[0]
    where = ", ".join(one.where for one in same[:_NAMED])
    more = f" and {len(same) - _NAMED:,} more" if len(same) > _NAMED else ""
    return replace(same[0], what=f"the kernel refused {len(same):,} tiers", where=where + more)


CHECK = Check(
    "refused", "what the kernel printed that it refused: modules, tiers, bitcode, files, memory", (SERIAL,), _look
)
