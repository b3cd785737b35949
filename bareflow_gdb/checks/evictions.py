"""Did the cache give up the least recently executed images, never a published one, and does it count right?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.finding import Finding


def _look(subject: Subject) -> Iterator[Finding]:
    try:
        cache = subject.cache
    except BadData:
        return
    if cache.wrong_eviction:
        yield _wrong("the cache evicted an image that was not the least recently used", cache.wrong_eviction)
    # The cache is told of a swap a moment after the versions are; by the first execution it has been.
    coming = [one for one in subject.versions if one.state in ("emitted", "published")]
    swaps = {one.function for one in coming if one.tsc_first < one.tsc_published}
    ran = {
        (one.function_name, one.level): max(one.tsc_published, one.tsc_retired)
        for one in subject.versions
        if one.provider == "precompiled" and one.function not in swaps
    }
    for slot in cache.slots:
        since = ran.get((slot.name, slot.level), 0)
        if slot.tsc_last_used < since:
            yield _wrong(
                f"the cache does not note when {slot.name} O{slot.level} was used",
                f"last used at TSC {slot.tsc_last_used:,}; its version was published or replaced at {since:,}",
            )
    left = cache.evictions + len(cache.slots)
    if left > cache.misses:
        yield _wrong(
            "the cache counts wrongly",
            f"{cache.evictions:,} evictions, {len(cache.slots)} images in it, of {cache.misses:,} looked for",
        )


def _wrong(what: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        evidence=evidence,
        consequence="images that are needed are read from the disk again",
        next_step="`cache` shows the slots; look at the kernel's cache",
    )


CHECK = Check("evictions", "what left the cache, by last use, and its counters", (ROOT,), _look)
