"""Who answers the mailbox? Takes requests, has them answered, and sees what the guest makes of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.functions import Function, read_functions
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.guest.code.outcome import ANSWER_SECONDS, Outcome
from bareflow_gdb.guest.modules.modules import read_module_names
from bareflow_gdb.guest.standstill import standstill, stopped_for_good
from bareflow_gdb.guest.stock.kernel import looks_stock
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import mailbox, work_files
from bareflow_gdb.recompile.answering import Answering
from bareflow_gdb.recompile.cache import ObjectCache
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.compilers import Compilers
from bareflow_gdb.recompile.jobs import Follower, Job
from bareflow_gdb.recompile.recipe import AS_GUEST, USUAL, Recipe
from bareflow_gdb.recompile.store import SymbolStore

BUSY_SECONDS = 0.0005
QUIET_SECONDS = 0.02
TROUBLE_SECONDS = 0.5
JOBS_PER_FUNCTION = 4
"""Requests of the guest whose end is waited for; one that it never ends must not be kept for ever."""
BRINGING_SINCE = 3
"""Minor version of the debug interface that knows BF_ASK_BRINGS_BITCODE."""


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
        compilers: Compilers | None = None,
        *,
        verify: bool = True,
        cache: ObjectCache | None = None,
    ) -> None:
        """`progress` is told of each request that is taken, and of what went wrong. Raises BadData without a root.

        `verify`: new code is run on the host beside the published code first, and refused when it does something else.
        `cache`: what was compiled before is taken from there.

        `compilers` that are given stay the caller's, warm for the next Service.
        """
        self.memory = memory
        if looks_stock(memory):
            raise BadData(
                "this is a stock kernel, without the debug interface: it asks for no code; `bareflow recompile`"
                " installs some without its help"
            )
        self.progress = progress
        self.verify = verify
        self._store = SymbolStore(directory) if directory is not None else None
        self._lock: TextIO | None = None
        self.serving = False
        self.root: Root = find_root(memory).root
        self._follower = Follower(memory, self.root, self._store, self._say)
        self.compilers = Compilers(verifies=verify) if compilers is None else compilers
        self._own_compilers = compilers is None
        self._answering = Answering(memory, self.root, self.compilers, verify, cache)
        self._functions: list[Function] = []
        self._jobs: list[Job] = []
        self._become_host()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers and gives up the right to serve."""
        if self._own_compilers:
            self.compilers.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def compiler(self) -> Compiler:
        """The worker that is always warm."""
        return self.compilers.first

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
        if named and name in read_module_names(self.memory, self.root):
            raise UsageError(
                f"module {name} is loaded but not registered with the adaptive JIT; `bareflow log` says why "
                f"(the functions are {known})"
            )
        raise UsageError(f"the guest has no function {name!r}; its functions are {known}")

    def request(
        self,
        name: str,
        level: int,
        timeout: float = ANSWER_SECONDS,
        *,
        called: bool = True,
        recipe: Recipe = USUAL,
        keep: Path | None = None,
    ) -> Outcome:
        """What became of a request, see `carry_out`. `keep`: a folder for what the code was made of."""
        job, outcome = self.carry_out(name, level, timeout, called=called, recipe=recipe, keeps=keep is not None)
        return _with_work_files(job, outcome, keep)

    def carry_out(
        self,
        name: str,
        level: int,
        timeout: float = ANSWER_SECONDS,
        *,
        called: bool = True,
        recipe: Recipe = USUAL,
        keeps: bool = False,
        verify: bool = True,
    ) -> tuple[Job, Outcome]:
        """Asks for `name` at `level`, serves until it is installed and has run once, or is rejected.

        Without `called` until it is installed: the guest may be kept from calling it. `keeps`: what the code was made
        of is wanted, too. `verify`: as the Service does; without, this request's code is not.
        Raises UsageError for an unknown function, BareflowError when the guest does not answer in time, or another
        process serves it and would not know of the recipe.
        """
        if level not in range(layouts.const("BF_LEVELS")):
            raise UsageError(f"there is no level {level}; levels are 0 to {layouts.const('BF_LEVELS') - 1}")
        function = self.find(name)
        if self.serving:
            self.compiler.wait_ready()
        elif recipe != USUAL or not self.verify or keeps:
            raise BareflowError(
                f"another process serves this guest, and compiles {name} in its own way: end that one to choose "
                "source, passes, CPU, verification or work files here"
            )
        brings = recipe.source is not None and not function.bitcode
        if brings and int(self.root.abi.partition(".")[2]) < BRINGING_SINCE:
            raise BareflowError(
                f"{name} has no bitcode, and this kernel is too old to take any from outside; update it"
            )
        self._refuse_the_dead()
        slot = self._slot_of(function, self._slots()[1])
        job = Job(function, level, after=slot.request, own=True, times={"rung": time.perf_counter()}, called=called)
        job.recipe, job.verified = recipe, verify
        self._jobs.append(job)
        mailbox.ask(self.memory, slot, self._doorbell, level, brings)
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                for finished, outcome in self._turn():
                    if finished is job:
                        return job, outcome
                self._refuse_the_dead()
                time.sleep(BUSY_SECONDS)
            raise BareflowError(self._no_answer(job, timeout))
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    def serve(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Outcome]:
        """Answers every request until `stop`; yields what became of each.

        Whatever the guest writes, or the file system refuses, is said and outlived. Raises ReadError when the guest
        is gone.
        """
        while not stop():
            try:
                for _, outcome in self._turn():
                    yield outcome
            except (BareflowError, OSError) as error:
                self._outlive(error)
            time.sleep(BUSY_SECONDS if self._jobs else QUIET_SECONDS)

    def _outlive(self, error: Exception) -> None:
        """The mailbox as a whole cannot be read: waits until it can, for instance after a restart of the guest."""
        self.memory.invalidate()
        self.memory.read(0, 4, "interrupt vectors")  # when that cannot be read either, there is no guest
        self._say(f"{error}; waiting for a mailbox")
        self._jobs.clear()
        self._functions = []
        time.sleep(TROUBLE_SECONDS)
        try:
            self.root = find_root(self.memory, scan=False).root
        except BareflowError:
            return
        self._follower.root = self._answering.root = self.root

    def _become_host(self) -> None:
        """Serves from now on, unless another process does."""
        if self.serving:
            return
        if self._store is not None:
            try:
                self._lock = self._store.lock()
            except OSError as error:
                why = error.strerror or error
                raise BareflowError(f"{self._store.folder} cannot be used ({why}); was it removed?") from error
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
            self._answering.look()
            for slot in slots:
                # A slot found compiling belonged to a host that died: only one serves, and it is this one.
                if slot.state in mailbox.HOST_OWNED:
                    self._take(slot)
            for job in sorted(self._jobs, key=lambda job: not job.own):
                with self._dropped_when_it_fails(job):
                    slot = self._slot_of(job.function, slots)
                    if slot.state in mailbox.HOST_OWNED and job.number == slot.request:
                        self._answering.step(job, slot, staging_size)
        ended = []
        for job in list(self._jobs):
            with self._dropped_when_it_fails(job):
                outcome = self._follower.follow(job, self._slot_of(job.function, slots))
                if outcome is not None:
                    self._jobs.remove(job)
                    ended.append((job, outcome))
        return ended

    def _take(self, slot: MailSlot) -> None:
        """Makes a request that the guest has made the host's."""
        job = next((job for job in self._jobs if job.owns(slot)), None)
        if job is not None and job.number == slot.request and slot.state == "compiling":
            return
        if job is None:
            # As it is registered now: after a restart of the guest it may be another one.
            functions = read_functions(self.memory, self.root, read_counters(self.memory, self.root), [])
            if slot.index >= len(functions):
                return
            self._functions = functions
            recipe = Recipe(AS_GUEST) if slot.requested_by == "application" else USUAL
            job = Job(functions[slot.index], slot.level_wanted, after=slot.request - 1, recipe=recipe)
            self._jobs.append(job)
            self._forget_the_oldest(slot.index)
        job.number, job.level, job.wrapped = slot.request, slot.level_wanted, None
        job.times.setdefault("taken", time.perf_counter())
        self._say(f"{slot.function}: request {slot.request} for O{slot.level_wanted}")
        if slot.state == "requested":
            with self._dropped_when_it_fails(job):
                mailbox.take(self.memory, slot)

    def _forget_the_oldest(self, function: int) -> None:
        waiting = [job for job in self._jobs if job.function.index == function and not job.own]
        for job in waiting[:-JOBS_PER_FUNCTION]:
            self._jobs.remove(job)

    @contextmanager
    def _dropped_when_it_fails(self, job: Job) -> Iterator[None]:
        """One bad slot or name ends one request, not the others; what was asked for here tells its asker."""
        try:
            yield
        except (BareflowError, OSError) as error:
            if job in self._jobs:
                self._jobs.remove(job)
            if job.own:
                raise
            self._say(f"{job.function.name}: {error}; the request is dropped")

    def _slot_of(self, function: Function, slots: tuple[MailSlot, ...]) -> MailSlot:
        if function.index < len(slots):
            return slots[function.index]
        raise BareflowError(
            f"{function.name} has no slot in the guest's mailbox: the guest was restarted, or its memory is damaged; "
            "ask again"
        )

    @property
    def _doorbell(self) -> int:
        return int(self.root.mailbox + layouts.offset("bf_mailbox", "doorbell"))

    def _say(self, line: str) -> None:
        self.progress(line)

    def _refuse_the_dead(self) -> None:
        dead = stopped_for_good(self.memory, self.root)
        if dead:
            raise BareflowError(f"nothing can be recompiled: {dead}")

    def _no_answer(self, job: Job, timeout: float) -> str:
        """Takes the question back; returns the sentence that says how far it got."""
        slot = self._slot_of(job.function, self._slots()[1])
        why = standstill(self.memory, self.root)
        if slot.ask:
            mailbox.withdraw(self.memory, slot)
            if not read_word(self.memory, self._doorbell, "doorbell"):
                before = f"an earlier request of {slot.function}, whose slot is {slot.state}, has not ended"
                return f"the guest left the question for {timeout:g} s: {before}; {why or '`bareflow log` says more'}"
            reason = why or "is its run still going on, or does a function of it never return (`bareflow status`)?"
            return f"the guest did not look at the doorbell within {timeout:g} s; {reason}"
        stayed = f"the guest took the question but the slot of {slot.function} stayed {slot.state} for {timeout:g} s"
        if why:
            return f"{stayed}; {why}"
        if slot.state in mailbox.HOST_OWNED:
            who = "its compilation takes longer than that" if self.serving else "the process that serves is not done"
            return f"{stayed}: {who}; wait longer with --timeout, or take a lower tier"
        return f"{stayed}; `bareflow log` shows what the guest did last"


def _with_work_files(job: Job, outcome: Outcome, keep: Path | None) -> Outcome:
    """Also when the guest refused: that is when they are looked at."""
    if keep is None or job.wrapped is None or job.compilation is None:
        return outcome
    return dataclasses.replace(
        outcome, kept=work_files.keep(keep, job.function.name, job.wrapped.payload, job.compilation)
    )
