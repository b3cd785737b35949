"""How far is a request, and what became of it in the guest?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import milliseconds
from bareflow_gdb.guest.code.functions import Function, find_version
from bareflow_gdb.guest.code.mailbox import MailSlot
from bareflow_gdb.guest.code.outcome import Outcome, Phases, Verification
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile.compiler import Compilation
from bareflow_gdb.recompile.link import Linked
from bareflow_gdb.recompile.recipe import USUAL, Recipe
from bareflow_gdb.recompile.store import SymbolStore
from bareflow_gdb.recompile.wrapped import Wrapped

CALL_SECONDS = 1.0
ASKED_BY_HOST = ("host_asked", "none")
"""A kernel with debug interface 1.1 or older does not tell."""
SEE_LOG = "`bareflow log` says more"
ADVICE = {
    "no bitcode": "give its source with --from FILE; `bareflow serial` says what the module disk lacks",
    "no memory": "`bareflow pools` shows what fills them",
    "vetoed": "`bareflow swap allow` ends that",
}
"""By the guest's reason."""


@dataclass
class Job:
    """One request on its way."""

    function: Function
    level: int
    after: int
    """It is the first request of its slot with a number after this one; one of its own: that the host asked for."""
    number: int | None = None
    """Its number, once the host has seen the guest ask."""
    own: bool = False
    """Asked for through this process."""
    called: bool = True
    """The first call of the new code is waited for."""
    recipe: Recipe = USUAL
    verified: bool = True
    """Its code is compared with the published code, by a host that does that."""
    times: dict[str, float] = field(default_factory=dict)
    """When it was rung, taken, compiled, linked, verified, staged, done, first called, as far as it came."""
    until_called: float | None = None
    """Milliseconds on the guest's clock."""
    wrapped: Wrapped | None = None
    """The bitcode, as it was when the guest asked."""
    compilation: Compilation | None = None
    linked: Linked | None = None
    verification: Verification | None = None
    ended: MailSlot | None = None
    """The slot as it was when the guest had ended the request."""
    progress: tuple[int, int] | None = None
    """Of the guest, when the new code's first call had begun."""
    message: str = ""

    def owns(self, slot: MailSlot) -> bool:
        """Whether it is the request that the slot holds."""
        if slot.index != self.function.index:
            return False
        if self.number is not None:
            return slot.request == self.number
        # Before it the guest may ask once more for itself: a threshold that waited for the slot comes first.
        asked = not self.own or slot.requested_by in ASKED_BY_HOST
        return asked and 0 < (slot.request - self.after) & 0xFFFFFFFF < 1 << 31

    def has_ended(self, slot: MailSlot) -> bool:
        """Whether the request that ended last in the slot is this one."""
        if self.number is not None:
            return slot.index == self.function.index and slot.done_request == self.number
        return slot.done_request == slot.request and self.owns(slot)

    def phases(self) -> Phases:
        """How long each step took, as far as it came."""
        link, verify = self._between("compiled", "staged"), self._between("linked", "verified")
        return Phases(
            request=self._between("rung", "taken"),
            compile=self._between("taken", "compiled"),
            link=round(link - (verify or 0.0), 3) if link is not None else None,
            verify=verify,
            install=self._between("staged", "done"),
            first_execution=self.until_called,
            total=self._between("rung" if "rung" in self.times else "taken", "first"),
        )

    def _between(self, start: str, end: str) -> float | None:
        told = start in self.times and end in self.times
        return round((self.times[end] - self.times[start]) * 1e3, 3) if told else None


class Follower:
    """Sees in the guest what became of requests, and keeps the symbols of the versions that came of them."""

    def __init__(self, memory: Memory, root: Root, store: SymbolStore | None, say: Callable[[str], None]) -> None:
        """`say` is told when a version's symbols cannot be kept."""
        self.memory = memory
        self.root = root
        self._store = store
        self._say = say

    def follow(self, job: Job, slot: MailSlot) -> Outcome | None:
        """The outcome once the guest has ended the request and called the new code, None before that."""
        if job.ended is None and slot.settled and job.has_ended(slot):
            job.ended = slot
        if job.ended is None:
            return None
        slot = job.ended
        now = time.perf_counter()
        done = job.times.setdefault("done", now)
        if slot.done_state != "installed":
            why = slot.done_reason.replace("_", " ")
            if not job.message:
                job.message = (
                    f"{slot.function} runs a tier as high by now: the guest had asked for O{slot.level_wanted} before"
                    if slot.done_reason == "cancelled"
                    else f"the guest refused to recompile {slot.function} ({why}); {ADVICE.get(why, SEE_LOG)}"
                )
            return self._outcome(job, slot, None, None)
        version = find_version(self.memory, self.root, slot.done_version)
        if version is None or not version.tsc_first:
            waits = job.called and now - done < CALL_SECONDS
            return None if waits else self._outcome(job, slot, version, None)
        first = job.times.setdefault("first", now)
        hertz = read_counters(self.memory, self.root).tsc_hz
        job.until_called = milliseconds(version.tsc_first - version.tsc_published, hertz)
        if not job.called:
            return self._outcome(job, slot, version, None)
        # The first call has returned when the idle loop goes on, or when the function is called once more.
        progress = self._progress(job)
        if job.progress is None:
            job.progress = progress
        if progress != job.progress:
            return self._outcome(job, slot, version, self._result(job))
        return None if now - first < CALL_SECONDS else self._outcome(job, slot, version, None)

    def _result(self, job: Job) -> tuple[int, int]:
        """What the function's last call returned, and what was expected of it."""
        address = self.root.function_table + job.function.index * layouts.size("bf_function")
        record = one(self.memory, "bf_function", address, "function record")
        return int(record.last_result), int(record.expected)

    def _progress(self, job: Job) -> tuple[int, int]:
        self.memory.invalidate()
        idle_loops = read_counters(self.memory, self.root).idle_loops
        if job.function.profiler_id >= layouts.const("MAX_PROFILED_FUNCTIONS"):
            return idle_loops, 0
        profile = self.root.function_profiler + job.function.profiler_id * layouts.size("function_profile")
        return idle_loops, one(self.memory, "function_profile", profile, "function profile").call_count

    def _outcome(self, job: Job, slot: MailSlot, version: Any | None, returned: tuple[int, int] | None) -> Outcome:
        result, expected = returned or (None, None)
        symbol_file = None if version is None else self._keep(job, version)
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
            expected=expected,
            correct=result == expected if result is not None else None,
            milliseconds=job.phases(),
            remarks=job.compilation.remarks if job.compilation is not None else (),
            passes=job.compilation.passes if job.compilation is not None else (),
            notes=job.compilation.notes if job.compilation is not None else (),
            symbol_file=symbol_file,
            from_cache=job.compilation is not None and job.compilation.cached,
            verification=job.verification,
        )

    def _keep(self, job: Job, version: Any) -> str | None:
        """The version's symbol file. The version is installed in any case: what cannot be kept is said."""
        if job.linked is None or self._store is None:
            return None
        name = job.function.name
        try:
            where = (version.code, version.rodata, job.linked, job.compilation)
            path = self._store.add(name, version.number, job.level, *where)
        except OSError as error:
            self._say(f"the symbols of {name} cannot be kept ({error.strerror or error}); look at {self._store.folder}")
        except BareflowError as error:
            self._say(f"the symbols of {name} cannot be kept: {error}")
        else:
            return str(path)
        return None
