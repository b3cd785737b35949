"""Who answers the mailbox? Takes requests, compiles, links, stages, and sees what the guest makes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, ReadError, UsageError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.exports import read_exports, read_symbols
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.functions import Function, read_functions
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.code.outcome import Outcome
from bareflow_gdb.guest.stock.kernel import looks_stock
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import mailbox
from bareflow_gdb.recompile.compiler import Compilation, Compiler
from bareflow_gdb.recompile.jobs import Follower, Job
from bareflow_gdb.recompile.link import Linked, NeedMore, Room, link
from bareflow_gdb.recompile.refusal import BadRequest, Refused
from bareflow_gdb.recompile.store import SymbolStore
from bareflow_gdb.recompile.wrapped import Wrapped, read_wrapped

BUSY_SECONDS = 0.0005
QUIET_SECONDS = 0.02
ANSWER_SECONDS = 15.0


class Service(AbstractContextManager["Service"]):
    """Serves one guest's mailbox.

    `directory` is the machine's: symbol files go there, and a lock in it makes sure that one process serves.
    A Service that does not get the lock asks and watches, and takes the work over when the other one ends.
    """

    def __init__(
        self,
        memory: Memory,
        directory: Path | None = None,
        progress: Callable[[str], None] = lambda _: None,
        compiler: Compiler | None = None,
    ) -> None:
        """`progress` is told of each request that is taken. Raises BadData when the guest has no root.

        A `compiler` that is given stays the caller's, warm for the next Service.
        """
        self.memory = memory
        if looks_stock(memory):
            raise BadData("this is a stock kernel, without the debug interface: it takes no code from outside")
        self.root: Root = find_root(memory).root
        self.progress = progress
        self._store = SymbolStore(directory) if directory is not None else None
        self._lock: TextIO | None = None
        self.serving = False
        self.compiler = Compiler() if compiler is None else compiler
        self._own_compiler = compiler is None
        self._follower = Follower(memory, self.root, self._store)
        self._functions: list[Function] = []
        self._jobs: list[Job] = []
        self._become_host()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker and gives up the right to serve."""
        if self._own_compiler:
            self.compiler.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def functions(self) -> list[Function]:
        """The functions that can be recompiled, as registered now."""
        counters = read_counters(self.memory, self.root)
        if len(self._functions) != counters.function_count:
            self._functions = read_functions(self.memory, self.root, counters, [])
        return self._functions

    def find(self, name: str) -> Function:
        """A function by its name; raises UsageError."""
        named = {function.name: function for function in self.functions()}
        if name in named:
            return named[name]
        known = ", ".join(named) or "none yet: wait until they are registered"
        raise UsageError(f"the guest has no function {name!r}; its functions are {known}")

    def request(self, name: str, level: int, timeout: float = ANSWER_SECONDS, *, called: bool = True) -> Outcome:
        """Asks for `name` at `level`, serves until it is installed and has run once, or is rejected.

        Without `called` until it is installed: the guest may be kept from calling it.
        Raises UsageError for an unknown function, BareflowError when the guest does not answer in time.
        """
        if level not in range(layouts.const("BF_LEVELS")):
            raise UsageError(f"there is no level {level}; levels are 0 to {layouts.const('BF_LEVELS') - 1}")
        function = self.find(name)
        if self.serving:
            self.compiler.wait_ready()
        slot = self._slots()[1][function.index]
        job = Job(function, level, after=slot.request, times={"rung": time.perf_counter()}, called=called)
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
        """Answers every request until `stop`; yields what became of each."""
        while not stop():
            for _, outcome in self._turn():
                yield outcome
            time.sleep(BUSY_SECONDS if self._jobs else QUIET_SECONDS)

    def _become_host(self) -> None:
        """Serves from now on, unless another process does."""
        if self.serving:
            return
        if self._store is not None:
            self._lock = self._store.lock()
        self.serving = self._store is None or self._lock is not None
        if self.serving:
            self.compiler.start()

    def _slots(self) -> tuple[int, tuple[MailSlot, ...]]:
        self.memory.invalidate()
        box = read_mailbox(self.memory, self.root, self.functions())
        return box.staging_size, box.slots

    def _turn(self) -> list[tuple[Job, Outcome]]:
        self._become_host()
        staging_size, slots = self._slots()
        if self.serving:
            for slot in slots:
                # A slot found compiling belonged to a host that died: only one serves, and it is this one.
                if slot.state in mailbox.HOST_OWNED:
                    self._answer(slot, staging_size)
        ended = []
        for job in list(self._jobs):
            if job.function.index >= len(slots):
                raise BareflowError(f"{job.function.name} is gone: the guest was restarted; ask again")
            outcome = self._follower.follow(job, slots[job.function.index])
            if outcome is not None:
                self._jobs.remove(job)
                ended.append((job, outcome))
        return ended

    def _answer(self, slot: MailSlot, staging_size: int) -> None:
        job = next((job for job in self._jobs if job.owns(slot.index, slot.request)), None)
        if job is None:
            job = Job(self._functions[slot.index], slot.level_wanted, after=slot.request - 1)
            self._jobs.append(job)
        job.level = slot.level_wanted
        job.times.setdefault("taken", time.perf_counter())
        self.progress(f"{slot.function}: request {slot.request} for O{slot.level_wanted}")
        if slot.state == "requested":
            mailbox.take(self.memory, slot)
        try:
            made = self._make(job, slot)
            if isinstance(made, NeedMore):
                mailbox.check_fits(slot, staging_size, made.code, made.rodata)
                mailbox.want_more(self.memory, slot, made)
            else:
                mailbox.stage(self.memory, slot, staging_size, made, slot.level_wanted)
                job.times["staged"] = time.perf_counter()
        except Refused as refusal:
            self._reject(job, slot, refusal)
        except ReadError as error:
            # When QEMU is gone, the rejection cannot be written either, and that error goes on.
            self._reject(job, slot, BadRequest(f"{error}; load the function's module again"))

    def _reject(self, job: Job, slot: MailSlot, refusal: Refused) -> None:
        job.message = str(refusal)
        mailbox.reject(self.memory, slot, refusal.reason)
        job.times["staged"] = time.perf_counter()

    def _make(self, job: Job, slot: MailSlot) -> Linked | NeedMore:
        if slot.level_wanted not in range(layouts.const("BF_LEVELS")):
            raise BadRequest(
                f"the guest asks for level {slot.level_wanted}, which does not exist; is its memory damaged?"
            )
        wrapped = read_wrapped(self.memory, slot.bitcode, slot.bitcode_size)
        compilation = self._compile(job, wrapped)
        room = Room(slot.code_address, slot.code_capacity, slot.rodata_address, slot.rodata_capacity)
        function = job.function
        problems: list[str] = []
        shared = read_symbols(self.memory, function.symbols, function.symbol_count, "shared data", problems)
        if problems:
            raise BadRequest(f"{problems[0]}; is the guest's memory damaged?")
        exports = {export.name: int(export.address) for export in read_exports(self.memory, self.root)}
        made = link(compilation.data, wrapped.entry, room, {item.name: item for item in shared}, exports)
        job.linked = made if isinstance(made, Linked) else None
        return made

    def _compile(self, job: Job, wrapped: Wrapped) -> Compilation:
        """Once for a request, although the guest asks again when it has made more room."""
        if job.compilation is not None:
            of, kept = job.compilation
            if (of, kept.level) == (wrapped, job.level):
                return kept
        made = self.compiler.compile(wrapped.payload, wrapped.entry, job.level)
        job.times["compiled"], job.compilation = time.perf_counter(), (wrapped, made)
        return made

    def _no_answer(self, job: Job, timeout: float) -> str:
        """Takes the question back; returns the sentence that says how far it got."""
        slot = self._slots()[1][job.function.index]
        if slot.ask:
            mailbox.withdraw(self.memory, slot)
            return (
                f"the guest did not look at the doorbell within {timeout:g} s; is it stopped in a debugger, "
                "halted, or not yet up (`bareflow status`)?"
            )
        return (
            f"the guest took the question but the slot of {slot.function} stayed {slot.state} for "
            f"{timeout:g} s; `bareflow serve` in another terminal may have ended"
        )
