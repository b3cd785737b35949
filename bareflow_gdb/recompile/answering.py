"""How is one request of the guest answered? Its bitcode is compiled, linked, verified, and staged or refused.

In parallel: compilations and trials of different functions, as many as there are workers. In order: the requests of one
function, and what is done in the mailbox.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.exports import read_exports, read_symbols
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.mailbox import MailSlot
from bareflow_gdb.guest.code.outcome import Verification
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import mailbox, verification
from bareflow_gdb.recompile.cache import ObjectCache, key_of
from bareflow_gdb.recompile.compiler import Compilation, Compiler
from bareflow_gdb.recompile.compilers import Compilers
from bareflow_gdb.recompile.jobs import Job
from bareflow_gdb.recompile.link import Linked, NeedMore, Room, link
from bareflow_gdb.recompile.recipe import CPU, Recipe
from bareflow_gdb.recompile.refusal import BadBitcode, BadRequest, Refused
from bareflow_gdb.recompile.verification import Check
from bareflow_gdb.recompile.wrapped import Wrapped, read_wrapped


@dataclass
class _Trial:
    """New code that is compared, or was, with the published code."""

    room: Room
    linked: Linked
    check: Check
    came: Verification | Refused | None = None


@dataclass
class _Making:
    """What a worker makes, or made, for a function."""

    wrapped: Wrapped
    level: int
    recipe: Recipe
    key: str
    """Of the object in the cache."""
    compiler: Compiler | None
    """None: it was found in the cache."""
    made: Compilation | Refused | None = None
    trial: _Trial | None = None

    @property
    def going_on(self) -> bool:
        """Whether a worker is busy with it."""
        return self.made is None or (self.trial is not None and self.trial.came is None)


class Answering:
    """The requests that the host owns. Every method returns at once."""

    def __init__(
        self, memory: Memory, root: Root, compilers: Compilers, verify: bool, cache: ObjectCache | None
    ) -> None:
        """`verify`: the guest gets no code that does not do what the published code does."""
        self.verify = verify
        self.cache = cache
        self.memory = memory
        self.root = root
        self.compilers = compilers
        self._making: dict[int, _Making] = {}
        """By the index of the function: one at a time, also when the guest has taken the request back."""

    def look(self) -> None:
        """Sees what has been compiled, or verified, since."""
        for making in self._making.values():
            if making.made is None and making.compiler is not None:
                try:
                    making.made = making.compiler.poll()
                except Refused as refusal:
                    making.made = refusal
                if self.cache is not None and isinstance(making.made, Compilation):
                    self.cache.put(making.key, making.made)
            trial = making.trial
            if trial is not None and trial.came is None:
                try:
                    trial.came = trial.check.poll()
                except Refused as refusal:
                    trial.came = refusal

    def step(self, job: Job, slot: MailSlot, staging_size: int) -> None:
        """What can be done for this request now: begins its compilation, or answers when that has ended."""
        try:
            made = self._make(job, slot)
            if made is None:
                return
            if isinstance(made, NeedMore):
                mailbox.check_fits(slot, staging_size, made.code, made.rodata)
                mailbox.want_more(self.memory, slot, made)
                return
            mailbox.stage(self.memory, slot, staging_size, made, slot.level_wanted)
        except Refused as refusal:
            self._reject(job, slot, refusal)
        except ReadError as error:
            # When QEMU is gone, the rejection cannot be written either, and that error goes on.
            self._reject(job, slot, BadRequest(f"{error}; load the function's module again"))
        self._making.pop(slot.index, None)
        job.times["staged"] = time.perf_counter()

    def _reject(self, job: Job, slot: MailSlot, refusal: Refused) -> None:
        job.message = str(refusal)
        mailbox.reject(self.memory, slot, refusal.reason)

    def _make(self, job: Job, slot: MailSlot) -> Linked | NeedMore | None:
        """None: it is not compiled yet."""
        if slot.level_wanted not in range(layouts.const("BF_LEVELS")):
            raise BadRequest(
                f"the guest asks for level {slot.level_wanted}, which does not exist; is its memory damaged?"
            )
        if job.wrapped is None:
            job.wrapped = self._bitcode(job, slot)
        compilation = self._compiled(job, job.wrapped)
        if compilation is None:
            return None
        room = Room(slot.code_address, slot.code_capacity, slot.rodata_address, slot.rodata_capacity)
        making = self._making[job.function.index]
        if making.trial is not None and making.trial.room == room:
            return self._tried(job, making.trial)
        function = job.function
        problems: list[str] = []
        shared = read_symbols(self.memory, function.symbols, function.symbol_count, "shared data", problems)
        if problems:
            raise BadRequest(f"{problems[0]}; is the guest's memory damaged?")
        exports = {export.name: int(export.address) for export in read_exports(self.memory, self.root)}
        vectors = making.recipe.vectors
        made = link(compilation.data, job.wrapped.entry, room, {item.name: item for item in shared}, exports, vectors)
        job.linked = made if isinstance(made, Linked) else None
        if job.linked is None or not (self.verify and job.verified):
            return made
        job.times.setdefault("linked", time.perf_counter())
        compiler = self._free(job)
        if compiler is None:
            return None
        source = job.recipe.source
        begun = verification.begin(
            compiler,
            self.memory,
            self.root,
            function,
            job.linked,
            room,
            shared,
            edited=source is not None and source.edited,
        )
        if isinstance(begun, Verification):
            job.verification = begun
            return made
        making.trial = _Trial(room, job.linked, begun)
        return None

    def _bitcode(self, job: Job, slot: MailSlot) -> Wrapped:
        """What is compiled: the guest's bitcode, or the one that was given in its place."""
        source = job.recipe.source
        if source is None:
            return read_wrapped(self.memory, slot.bitcode, slot.bitcode_size)
        entry = source.entry or f"{job.function.name}_main"
        if not source.entry and slot.bitcode:
            with contextlib.suppress(BadBitcode):
                entry = read_wrapped(self.memory, slot.bitcode, slot.bitcode_size).entry
        return Wrapped(entry, source.payload)

    def _tried(self, job: Job, trial: _Trial) -> Linked | None:
        """The new code, when it may go to the guest; None: it is not known yet."""
        if trial.came is None:
            return None
        job.times.setdefault("verified", time.perf_counter())
        if isinstance(trial.came, Refused):
            raise trial.came
        job.verification = trial.came
        job.linked = trial.linked
        return trial.linked

    def _compiled(self, job: Job, wrapped: Wrapped) -> Compilation | None:
        """Once for a request, although the guest asks again when it has made more room."""
        index = job.function.index
        recipe = self._for_guest(job.recipe)
        making = self._making.get(index)
        if making is not None and making.going_on:
            # Perhaps for a request that the guest has taken back: this one comes after it.
            return None
        if making is not None and (making.wrapped, making.level, making.recipe) == (wrapped, job.level, recipe):
            if isinstance(making.made, Refused):
                raise making.made
            job.times.setdefault("compiled", time.perf_counter())
            job.compilation = making.made
            return making.made
        key, kept = "", None
        if self.cache is not None:
            key = key_of(wrapped.payload, wrapped.entry, job.level, recipe)
            kept = self.cache.get(key)
        compiler = self._free(job) if kept is None else None
        if kept is not None or compiler is not None:
            self._making[index] = _Making(wrapped, job.level, recipe, key, compiler, kept)
        if compiler is not None:
            compiler.begin(wrapped.payload, wrapped.entry, job.level, recipe)
        return self._compiled(job, wrapped) if kept is not None else None

    def _for_guest(self, recipe: Recipe) -> Recipe:
        """With vector instructions that the guest has; raises NotExecutable for more."""
        if recipe.cpu == CPU:
            return recipe
        return recipe.on(read_counters(self.memory, self.root).cpu_features or ())

    def _free(self, job: Job) -> Compiler | None:
        waited = time.perf_counter() - job.times["taken"]
        return self.compilers.free(waited, first_in_line=job.own)
