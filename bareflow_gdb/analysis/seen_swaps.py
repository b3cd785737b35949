"""Which swaps does a trace tell whose events were seen from outside: by watchpoints, or by polling the tables?

Their times are the host's: when the recorder saw them. What the guest keeps of its own clock is not mixed with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.values import Address, word
from bareflow_gdb.guest.code.costs import Costs
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.guest.code.functions import Tables
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.code.worth import judge
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.segments import to_events
from bareflow_gdb.tracing.store import Trace

TYPES = ("jit_register", "counted", "publish")
_PADDING = b"\0\x90\xcc"
_THRESHOLD = layouts.const("BF_REASON_THRESHOLD")
_LARGEST_COMPARED = 64 << 10


@dataclass(frozen=True)
class _Published:
    """What a function ran from one moment on."""

    code: int
    level: int | None
    version: int


class _Story:
    def __init__(self, trace: Trace, tables: Tables | None, costs: Costs | None) -> None:
        self.trace = trace
        self.costs = costs
        self.versions = {one.number: one for one in tables.versions} if tables is not None else {}
        self.now: dict[int, _Published] = {}
        self.calls: dict[int, tuple[int, int]] = {}
        """When a function's calls were counted last, and how many there were."""
        watched = [source.ring for source in trace.manifest.sources if source.kind == "watch"]
        self.rings_at_store = frozenset(watched)

    @cached_property
    def by_entry(self) -> dict[tuple[int, int], SavedCode]:
        """The newest code of each function that begins there."""
        return {(code.function, code.entry): code for _, code in sorted(self.trace.codes.items())}

    def at(self, function: int, code: int) -> _Published:
        """What is known of code that was published before the first event tells it."""
        saved = self.by_entry.get((function, code))
        return _Published(code, saved.level, saved.version) if saved is not None else _Published(code, None, 0)

    def swap(self, event: Event) -> Swap:
        said = event.fields()
        index, version = event.id, said["version"]
        before = self.now.get(index)
        if before is None or before.code != said["old"]:
            before = self.at(index, said["old"])
        self.now[index] = _Published(said["new"], said["level"], version)
        saved = self.trace.codes.get(version)
        worth = None
        if self.costs is not None:
            worth = judge(self.costs.get(before.version), self.costs.get(version), None)
        return Swap(
            function=self.trace.function_name(index),
            index=index,
            from_level=before.level,
            to_level=said["level"],
            from_version=before.version or None,
            to_version=version,
            reason=word("bf_reason", said["reason"]),
            call=self._call(event, said["reason"], version),
            old_code=Address(said["old"]),
            new_code=Address(said["new"]),
            code_size=saved.size if saved is not None else 0,
            tsc=event.tsc,
            same_code=said["old"] == said["new"] or self._same(before.version, version),
            worth=worth,
        )

    def _call(self, event: Event, reason: int, version: int) -> int | None:
        if reason != _THRESHOLD:
            return None
        known = self.versions.get(version)
        if known is not None and known.asked_at_call:
            return known.asked_at_call
        # Right at the store the profiler's count is that of the call; a poll comes later.
        at, calls = self.calls.get(event.id, (0, 0))
        return calls if calls and event.ring in self.rings_at_store and at == event.tsc else None

    def _same(self, one: int, other: int) -> bool:
        known = [self.versions[version] for version in (one, other) if version in self.versions]
        if len(known) == 2:
            # Calls in it lead elsewhere from another place: the kernel compares before it relocates.
            return len({version.same_as or version.number for version in known}) == 1
        try:
            old, new = (self.trace.code_bytes(version)[:_LARGEST_COMPARED] for version in (one, other))
        except BareflowError:
            return False
        return bool(old) and old.rstrip(_PADDING) == new.rstrip(_PADDING)


def seen_swaps(trace: Trace, tables: Tables | None, costs: Costs | None, no_worth: str) -> Swaps:
    """All of them, in their order. `tables` and `costs`: of the last moment, where the kernel keeps such.

    Raises BadData when the trace is damaged.
    """
    story = _Story(trace, tables, costs)
    found: list[Swap] = []
    # A recorder writes them in the order of time, so that they need not all be in memory.
    for event in (one for part in trace.parts(types=TYPES) for one in decode(to_events(part))):
        if event.type == "jit_register":
            story.now[event.id] = story.at(event.id, event.fields()["code"])
        elif event.type == "counted":
            story.calls[event.id] = event.tsc, event.fields()["calls"]
        else:
            found.append(story.swap(event))
    missed = trace.manifest.missed
    return Swaps(
        swaps=tuple(found),
        swap_count=len(found) + missed,
        tsc_hz=trace.manifest.tsc_hz,
        forgotten=missed if trace.manifest.complete else None,
        counted_by="events",
        no_worth=no_worth,
    )
