"""How far is a request, and what became of it in the guest?"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import filled, many, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import milliseconds
from bareflow_gdb.guest.code.functions import Function
from bareflow_gdb.guest.code.mailbox import MailSlot
from bareflow_gdb.guest.code.outcome import Outcome, Phases
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile.compiler import Compilation
from bareflow_gdb.recompile.link import Linked
from bareflow_gdb.recompile.store import SymbolStore
from bareflow_gdb.recompile.wrapped import Wrapped

CALL_SECONDS = 1.0
POLL_SECONDS = 0.0005


@dataclass
class Job:
    """One request on its way."""

    function: Function
    level: int
    after: int
    """It is the first request of its slot with a number after this one."""
    called: bool = True
    """The first call of the new code is waited for."""
    times: dict[str, float] = field(default_factory=dict)
    """When it was rung, taken, compiled, staged, done and first called, as far as it came: time.perf_counter()."""
    until_called: float | None = None
    """Milliseconds on the guest's clock."""
    compilation: tuple[Wrapped, Compilation] | None = None
    """Kept for when the guest has made more room."""
    linked: Linked | None = None
    message: str = ""

    def owns(self, function: int, request: int) -> bool:
        """Whether it is this request of this function."""
        return function == self.function.index and 0 < (request - self.after) & 0xFFFFFFFF < 1 << 31

    def phases(self) -> Phases:
        """How long each step took, as far as it came."""
        return Phases(
            request=self._between("rung", "taken"),
            compile=self._between("taken", "compiled"),
            link=self._between("compiled", "staged"),
            install=self._between("staged", "done"),
            first_execution=self.until_called,
            total=self._between("rung" if "rung" in self.times else "taken", "first"),
        )

    def _between(self, start: str, end: str) -> float | None:
        told = start in self.times and end in self.times
        return round((self.times[end] - self.times[start]) * 1e3, 3) if told else None


class Follower:
    """Sees in the guest what became of requests, and keeps the symbols of the versions that came of them."""

    def __init__(self, memory: Memory, root: Root, store: SymbolStore | None) -> None:
        self.memory = memory
        self.root = root
        self._store = store

    def follow(self, job: Job, slot: MailSlot) -> Outcome | None:
        """The outcome once the guest has ended the request and called the new code, None before that."""
        # The guest writes the done_* words one by one and then leaves the state: that is what counts.
        settled = slot.state in ("idle", "installed") or slot.request != slot.done_request
        if not settled or not job.owns(slot.index, slot.done_request):
            return None
        now = time.perf_counter()
        done = job.times.setdefault("done", now)
        if slot.done_state != "installed":
            why = slot.done_reason.replace("_", " ")
            if not job.message:
                job.message = f"the guest refused to recompile {slot.function} ({why}); see its log"
            return self._outcome(job, slot, None)
        version = self._version(slot.done_version)
        if version is not None and version.tsc_first:
            job.times["first"] = time.perf_counter()
            hertz = read_counters(self.memory, self.root).tsc_hz
            job.until_called = milliseconds(version.tsc_first - version.tsc_published, hertz)
        elif job.called and now - done < CALL_SECONDS:
            return None
        return self._outcome(job, slot, version)

    def _version(self, number: int) -> Any | None:
        """The raw record of a version; numbers start at 1 and records are reused when the table is full."""
        capacity, size = layouts.const("BF_MAX_VERSIONS"), layouts.size("bf_version")
        likely = self.root.version_table + (number - 1) % capacity * size
        record = one(self.memory, "bf_version", likely, "version record")
        if record.number == number:
            return record
        table = many(self.memory, "bf_version", self.root.version_table, capacity, "version table")
        return next((record for record in table if record.number == number), None)

    def _result(self, job: Job) -> int | None:
        """What the first call of the new version returned; None when it has not returned in time.

        The first call has returned when the idle loop goes on, or when the function is called once more.
        """
        before = self._progress(job)
        deadline = time.monotonic() + CALL_SECONDS
        while self._progress(job) == before:
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        address = self.root.function_table + job.function.index * layouts.size("bf_function")
        return int(one(self.memory, "bf_function", address, "function record").last_result)

    def _progress(self, job: Job) -> tuple[int, int]:
        self.memory.invalidate()
        profile = self.root.function_profiler + job.function.profiler_id * layouts.size("function_profile")
        calls = one(self.memory, "function_profile", profile, "function profile").call_count
        return read_counters(self.memory, self.root).idle_loops, calls

    def _outcome(self, job: Job, slot: MailSlot, version: Any | None) -> Outcome:
        result = self._result(job) if job.called and "first" in job.times else None
        symbol_file = None
        if version is not None and job.linked is not None and self._store is not None:
            path = self._store.add(
                job.function.name, version.number, job.level, version.code, version.rodata, job.linked
            )
            symbol_file = str(path)
        return filled(
            Outcome,
            version,
            function=job.function.name,
            request=slot.done_request,
            level=job.level,
            state=slot.done_state,
            reason=slot.done_reason,
            message=job.message,
            version=version.number if version is not None else None,
            result=result,
            expected=job.function.expected if result is not None else None,
            correct=result == job.function.expected if result is not None else None,
            milliseconds=job.phases(),
            remarks=job.compilation[1].remarks if job.compilation is not None else (),
            symbol_file=symbol_file,
        )
