"""What can be seen of a guest's swaps by looking at its tables again and again, without a stop?

For every kernel with an adaptive JIT. Between two looks more may happen than the second one shows: how far apart the
looks were, and how many swaps the tables count that none of them showed, is part of the account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bareflow_gdb.guest.pointers import Pointers
from bareflow_gdb.tracing.events import Batch
from bareflow_gdb.tracing.manifest import HOST, Source
from bareflow_gdb.tracing.source import Seen

RING = 17
"""The number by which its events name this source: no kernel has so many rings."""
_SEARCH_SECONDS = 0.2
"""A search for the tables takes some tens of milliseconds."""


class Tables:
    """Polls the code pointers and the profiler through RAM. A context manager."""

    clock = HOST

    def __init__(self, pointers: Pointers) -> None:
        self._seen = Seen(RING, pointers)
        self._pointers = pointers
        self._looks = 0
        self._first = self._before = 0.0
        self._longest = 0.0
        self._search = 0.0

    def __enter__(self) -> Tables:
        self._seen.begin()
        self._first = self._before = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def require_free(self) -> None:
        """Nobody is in the way: it only reads."""

    def drain(self) -> Sequence[Batch]:
        now = time.monotonic()
        if not self._pointers.address:
            if now < self._search:
                return []
            found = self._pointers.find()
            # The search itself is no look: nothing is known of what was before.
            self._search = time.monotonic() + _SEARCH_SECONDS
            if not found:
                return []
        self._looks += 1
        self._longest = max(self._longest, now - self._before)
        self._before = now
        self._seen.look()
        self._seen.count()
        return self._seen.batch()

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        self._seen.look()
        self._seen.count(0)
        for batch in self._seen.batch():
            take(batch)

    @property
    def restarted(self) -> bool:
        """The guest has fewer functions than before."""
        return self._seen.restarted

    @property
    def nearly_empty(self) -> bool:
        """It may always sleep: what it misses then it says."""
        return True

    def counts(self) -> list[Source]:
        if not self._looks:
            return [self._seen.account("tables", "seen by polling; the kernel's tables were not there yet")]
        average = (self._before - self._first) / self._looks
        apart = f"a look every {average * 1000:.1f} ms on average, {self._longest * 1000:.1f} ms at most"
        return [self._seen.account("tables", f"seen by polling, {apart}")]
