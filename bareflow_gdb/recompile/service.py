"""Who answers the mailbox? Takes requests, compiles, links, stages, and sees what the guest makes of it."""

import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, ReadError, UsageError
from bareflow_gdb.guest.clock import read_counters
from bareflow_gdb.guest.find import find_root
from bareflow_gdb.guest.functions import Function, read_functions
from bareflow_gdb.guest.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.reading import many, one
from bareflow_gdb.guest.root import Root
from bareflow_gdb.guest.values import Address, clean
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import mailbox
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.link import Linked, NeedMore, Room, SharedSymbol, link
from bareflow_gdb.recompile.outcome import Outcome, Phases
from bareflow_gdb.recompile.refusal import BadBitcode, BadRequest, Refused
from bareflow_gdb.recompile.store import SymbolStore
from bareflow_gdb.recompile.wrapped import read_wrapped

BUSY_SECONDS = 0.0005
QUIET_SECONDS = 0.02
ANSWER_SECONDS = 15.0
DECLINE_SECONDS = 0.5
RESULT_SECONDS = 1.0
SYMBOL_LIMIT = 1024


@dataclass
class _Job:
    """One request on its way; times are of time.perf_counter()."""

    function: Function
    level: int
    after: int  # it is the first request of its slot with a number after this one
    rung: float | None = None
    taken: float | None = None
    compiled: float | None = None
    staged: float | None = None
    done: float | None = None
    first: float | None = None
    linked: Linked | None = None
    message: str = ""
    remarks: tuple[str, ...] = ()

    def owns(self, function: int, request: int) -> bool:
        return function == self.function.index and 0 < (request - self.after) & 0xFFFFFFFF < 1 << 31


class Service:
    """Serves one guest's mailbox.

    `directory` is the machine's: symbol files go there, and a lock in it makes sure that one process serves.
    A Service that does not get the lock asks and watches, and leaves the work to the one that has it.
    """

    def __init__(
        self,
        memory: Memory,
        directory: Path | None = None,
        compiler: Compiler | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Raises BadData when the guest has no mailbox."""
        self.memory = memory
        self.root: Root = find_root(memory).root
        self.progress = progress
        self._store = SymbolStore(directory) if directory is not None else None
        self._lock = self._store.lock() if self._store is not None else None
        self.serving = self._store is None or self._lock is not None
        self.compiler = compiler or Compiler()
        self._functions: list[Function] = []
        self._jobs: list[_Job] = []
        if self.serving:
            self.compiler.start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and give up the right to serve."""
        self.compiler.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def functions(self) -> list[Function]:
        """The functions that can be recompiled, as registered now."""
        counters = read_counters(self.memory, self.root)
        if len(self._functions) != counters.function_count:
            self._functions = read_functions(self.memory, self.root, counters, [])
        return self._functions

    def find(self, name: str) -> Function:
        """A function by its name; raises UsageError."""
        for function in self.functions():
            if function.name == name:
                return function
        known = (
            ", ".join(function.name for function in self._functions)
            or "none yet: wait until they are registered"
        )
        raise UsageError(f"the guest has no function {name!r}; its functions are {known}")

    def request(self, name: str, level: int, timeout: float = ANSWER_SECONDS) -> Outcome:
        """Ask for `name` at `level`, serve until it is installed and has run once, or is rejected.

        Raises UsageError for an unknown function, BareflowError when the guest does not answer in time.
        """
        if level not in range(layouts.const("BF_LEVELS")):
            raise UsageError(f"there is no level {level}; levels are 0 to {layouts.const('BF_LEVELS') - 1}")
        function = self.find(name)
        if self.serving:
            self.compiler.wait_ready()
        slot = self._slots()[1][function.index]
        job = _Job(function, level, after=slot.request, rung=time.perf_counter())
        self._jobs.append(job)
        doorbell = self.root.mailbox + layouts.offset("bf_mailbox", "doorbell")
        mailbox.ask(self.memory, slot, doorbell, level)
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                for finished, outcome in self._turn():
                    if finished is job:
                        return outcome
                time.sleep(BUSY_SECONDS)
            raise BareflowError(self._no_answer(job, timeout))
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    def serve(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
        """Answer every request until `stop`; yields what became of each."""
        while not stop():
            for _, outcome in self._turn():
                yield outcome
            time.sleep(BUSY_SECONDS if self._jobs else QUIET_SECONDS)

    def serve_once(self) -> list[Outcome]:
        """Look at every slot once; what ended since the last look."""
        return [outcome for _, outcome in self._turn()]

    def _slots(self) -> tuple[int, tuple[MailSlot, ...]]:
        self.memory.invalidate()
        box = read_mailbox(self.memory, self.root, self.functions())
        return box.staging_size, box.slots

    def _turn(self) -> list[tuple[_Job, Outcome]]:
        staging_size, slots = self._slots()
        if self.serving:
            for slot in slots:
                # A slot found compiling belonged to a host that died: only one serves, and it is this one.
                if slot.state in mailbox.HOST_OWNED:
                    self._answer(slot, staging_size)
        ended = []
        for job in list(self._jobs):
            outcome = self._follow(job, slots[job.function.index])
            if outcome is not None:
                self._jobs.remove(job)
                ended.append((job, outcome))
        return ended

    def _answer(self, slot: MailSlot, staging_size: int) -> None:
        job = next((job for job in self._jobs if job.owns(slot.index, slot.request)), None)
        if job is None:
            job = _Job(self._functions[slot.index], slot.level_wanted, after=slot.request - 1)
            self._jobs.append(job)
        job.taken, job.level = time.perf_counter(), slot.level_wanted
        if slot.state == "requested":
            mailbox.take(self.memory, slot)
        try:
            made = self._make(job, slot)
            if isinstance(made, NeedMore):
                self.progress(
                    f"{slot.function}: needs {made.code} bytes of code, {made.rodata} of read-only data"
                )
                mailbox.want_more(self.memory, slot, made)
                return
            mailbox.stage(self.memory, slot, staging_size, made, slot.level_wanted)
        except Refused as refusal:
            job.message = str(refusal)
            mailbox.reject(self.memory, slot, refusal.reason)
        job.staged = time.perf_counter()

    def _make(self, job: _Job, slot: MailSlot) -> Linked | NeedMore:
        if slot.level_wanted not in range(layouts.const("BF_LEVELS")):
            raise BadRequest(
                f"the guest asks for level {slot.level_wanted}, which does not exist; is its memory damaged?"
            )
        try:
            wrapped = read_wrapped(self.memory, slot.bitcode, slot.bitcode_size)
        except ReadError as error:
            raise BadBitcode(f"{error}; load the function's module again") from error
        compilation = self.compiler.compile(wrapped.payload, wrapped.entry, slot.level_wanted)
        job.compiled, job.remarks = time.perf_counter(), compilation.remarks
        room = Room(slot.code_address, slot.code_capacity, slot.rodata_address, slot.rodata_capacity)
        function = job.function
        shared = self._symbols(function.symbols, function.symbol_count, "shared data symbols")
        exports = self._symbols(self.root.exports, self.root.export_count, "exported symbols")
        addresses = {name: symbol.address for name, symbol in exports.items()}
        made = link(compilation.data, wrapped.entry, room, shared, addresses)
        job.linked = made if isinstance(made, Linked) else None
        return made

    def _symbols(self, table: int, count: int, what: str) -> dict[str, SharedSymbol]:
        if count > SYMBOL_LIMIT:
            raise BadRequest(
                f"the guest claims {count} {what}, which is not possible; is its memory damaged?"
            )
        records = many(self.memory, "bf_symbol", table, count, what)
        return {clean(record.name): SharedSymbol(record.address, record.size) for record in records}

    def _follow(self, job: _Job, slot: MailSlot) -> Outcome | None:
        """What became of the job, once the guest has ended it and called the new code."""
        now = time.perf_counter()
        if not job.owns(slot.index, slot.done_request):
            declined = job.rung is not None and slot.ask == 0 and not job.owns(slot.index, slot.request)
            if declined and job.rung is not None and now - job.rung > DECLINE_SECONDS:
                why = "it is vetoed" if slot.control == "veto" else f"its control word says {slot.control}"
                job.message = f"the guest does not recompile {slot.function} ({why}); allow it first"
                return self._outcome(job, slot, "rejected", slot.done_reason, None)
            return None
        if job.done is None:
            job.done = now
        if slot.done_state != "installed":
            reason = slot.done_reason.replace("_", " ")
            job.message = (
                job.message
                or f"the guest refused the new code of {slot.function} ({reason}); its log says more"
            )
            return self._outcome(job, slot, "rejected", slot.done_reason, None)
        version = self._version(slot.done_version)
        if version is None or (version.tsc_first == 0 and now - job.done < RESULT_SECONDS):
            return (
                None
                if now - job.done < RESULT_SECONDS
                else self._outcome(job, slot, "installed", "none", version)
            )
        if version.tsc_first:
            job.first = now
        return self._outcome(job, slot, "installed", "none", version)

    def _version(self, number: int) -> Any | None:
        """The raw record of a version; numbers start at 1 and records are reused when the table is full."""
        capacity, size = layouts.const("BF_MAX_VERSIONS"), layouts.size("bf_version")
        likely = self.root.version_table + (number - 1) % capacity * size
        record = one(self.memory, "bf_version", likely, "version record")
        if record.number == number:
            return record
        table = many(self.memory, "bf_version", self.root.version_table, capacity, "version table")
        return next((record for record in table if record.number == number), None)

    def _result(self, job: _Job) -> int:
        """The function's last result, once the guest's first call of the new version has returned."""
        before = read_counters(self.memory, self.root).idle_loops
        deadline = time.monotonic() + RESULT_SECONDS
        while time.monotonic() < deadline and read_counters(self.memory, self.root).idle_loops == before:
            time.sleep(BUSY_SECONDS)
        address = self.root.function_table + job.function.index * layouts.size("bf_function")
        return int(one(self.memory, "bf_function", address, "function record").last_result)

    def _outcome(self, job: _Job, slot: MailSlot, state: str, reason: str, version: Any | None) -> Outcome:
        result = self._result(job) if job.first is not None else None
        symbol_file = None
        if version is not None and job.linked is not None and self._store is not None:
            symbol_file = self._store.add(
                job.function.name, version.number, job.level, version.code, version.rodata, job.linked
            )
        return Outcome(
            function=job.function.name,
            request=slot.done_request,
            level=job.level,
            state=state,
            reason=reason,
            message=job.message,
            version=version.number if version is not None else None,
            code=Address(version.code if version is not None else 0),
            code_size=version.code_size if version is not None else 0,
            rodata=Address(version.rodata if version is not None else 0),
            rodata_size=version.rodata_size if version is not None else 0,
            result=result,
            expected=job.function.expected if result is not None else None,
            correct=result == job.function.expected if result is not None else None,
            milliseconds=_phases(job),
            remarks=job.remarks,
            symbol_file=symbol_file,
        )

    def _no_answer(self, job: _Job, timeout: float) -> str:
        """Take the question back, and the sentence that says how far it got."""
        slot = self._slots()[1][job.function.index]
        if slot.ask:
            address = slot.address + layouts.offset("bf_mail_slot", "ask")
            with contextlib.suppress(ReadError):
                self.memory.write(address, struct.pack("<I", 0), "mailbox ask")
            return (
                f"the guest did not look at the doorbell within {timeout:g} s; is it stopped in a debugger, "
                "halted, or not yet up (`bareflow status`)?"
            )
        return (
            f"the guest took the question but the slot of {slot.function} stayed {slot.state} for "
            f"{timeout:g} s; `bareflow serve` in another terminal may have ended"
        )


def _phases(job: _Job) -> Phases:
    return Phases(
        request=_between(job.rung, job.taken),
        compile=_between(job.taken, job.compiled),
        link=_between(job.compiled, job.staged),
        install=_between(job.staged, job.done),
        first_execution=_between(job.done, job.first),
        total=_between(job.rung if job.rung is not None else job.taken, job.first),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return round((end - start) * 1e3, 3) if start is not None and end is not None else None
