"""How does a kernel without a mailbox get code from the host? Nobody in it helps, so it is done from outside.

The code goes to the end of the function's own buffer, whose capacity then ends before it, so that the kernel's own
levels go elsewhere; guest/stock/installed.py has the record of it. It is published by one 32-bit store to the code
pointer while the CPU is stopped. Calls that are on their way end in the old code, which stays where it is. Bytes that
may have been executed before are never used again: an emulator, and a CPU, may still hold what they were.
"""

from __future__ import annotations

import dataclasses
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.values import Address, code_name
from bareflow_gdb.guest.boot.stopped import runs
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.outcome import Outcome, Phases, Verification
from bareflow_gdb.guest.guest import Guest, cpu_of
from bareflow_gdb.guest.stock.installed import ALIGNMENT, RECORD_BYTES, Installed, read_installed
from bareflow_gdb.guest.stock.jit import Entry, read_entries
from bareflow_gdb.guest.stock.kernel import StockKernel
from bareflow_gdb.guest.stock.places import has_halted
from bareflow_gdb.guest.stock.search import JIT
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import verification, work_files
from bareflow_gdb.recompile.cache import ObjectCache, key_of
from bareflow_gdb.recompile.compiler import Compilation
from bareflow_gdb.recompile.compilers import Compilers
from bareflow_gdb.recompile.link import Linked, NeedMore, Room, link
from bareflow_gdb.recompile.recipe import USUAL, Recipe
from bareflow_gdb.recompile.refusal import NoRoom, NotSafe, Refused
from bareflow_gdb.recompile.verification import Published
from bareflow_gdb.recompile.verify import inputs
from bareflow_gdb.recompile.wrapped import Wrapped, read_wrapped

T = TypeVar("T")
Stopped = Callable[[], AbstractContextManager[Memory]]
"""While this is entered the CPU stands still, and the memory that it gives may be written."""

AGAIN_SECONDS = 0.01
CALL_SECONDS = 0.5
_FREE = {b"\0", b"\x90", b"\xcc"}
"""What memory is filled with that nobody has used."""


@dataclass
class _Making:
    """What is known of one installation, as far as it came."""

    name: str
    level: int
    recipe: Recipe
    times: dict[str, float] = field(default_factory=lambda: {"begun": time.perf_counter()})
    compilation: Compilation | None = None
    verification: Verification | None = None
    notes: list[str] = field(default_factory=list)
    kept: tuple[str, ...] = ()

    def reached(self, what: str) -> None:
        self.times[what] = time.perf_counter()

    def between(self, start: str, end: str) -> float | None:
        told = start in self.times and end in self.times
        return round((self.times[end] - self.times[start]) * 1e3, 3) if told else None


@dataclass(frozen=True)
class _Placed:
    """Code that is linked for its place, and the state of the function that this was done for."""

    entry: Entry
    linked: Linked
    room: Room
    installed: Installed

    @property
    def data(self) -> bytes:
        """All that is written: the record, the code, the read-only data."""
        gap = bytes(self.room.rodata - self.room.code - len(self.linked.code))
        return self.installed.encoded() + self.linked.code + gap + self.linked.rodata


class Installer:
    """Installs code into the functions of one stock kernel."""

    def __init__(
        self, guest: Guest, stopped: Stopped, compilers: Compilers, cache: ObjectCache | None, *, verify: bool = True
    ) -> None:
        self.guest = guest
        self.stopped = stopped
        self.compilers = compilers
        self.cache = cache
        self.verify = verify

    def request(
        self, name: str, level: int, timeout: float, recipe: Recipe = USUAL, keep: Path | None = None
    ) -> Outcome:
        """Compiles and installs; the outcome says with the reason when that cannot be.

        `keep`: a folder for what it was made of. Raises UsageError for an unknown function or one without bitcode,
        BareflowError when there is nothing to install into.
        """
        kernel = self._kernel()
        entry = self._entry(kernel, name)
        making = _Making(name, level, recipe)
        deadline = time.monotonic() + timeout
        try:
            _check_function(entry)
            if kernel.places.halted():
                raise NotSafe(f"the guest has halted for good, and would never call new code of {name}; start it anew")
            wrapped = self._bitcode(kernel, name, recipe)
            making.compilation = self._compiled(wrapped, making, deadline)
            if keep is not None:
                making.kept = work_files.keep(keep, name, wrapped.payload, making.compilation)
            placed = self._installed(making, wrapped, deadline)
        except Refused as refusal:
            return _outcome(making, "rejected", refusal)
        making.reached("done")
        self._see_calls(making, placed.entry.calls)
        return _outcome(making, "installed", placed=placed)

    def _kernel(self) -> StockKernel:
        self.guest.memory.invalidate()
        kernel = self.guest.kernel()
        if not isinstance(kernel, StockKernel):
            raise BareflowError("another kernel was booted meanwhile; ask again")
        return kernel

    def _entry(self, kernel: StockKernel, name: str) -> Entry:
        entries = kernel.records.entries().entries
        entry = next((one for one in entries if one.name == name), None)
        if entry is None:
            known = ", ".join(one.name for one in entries) or "none yet: let the guest run on"
            raise UsageError(f"the guest has no function {name!r}; its functions are {known}")
        return entry

    def _bitcode(self, kernel: StockKernel, name: str, recipe: Recipe) -> Wrapped:
        if recipe.source is not None:
            return Wrapped(recipe.source.entry or f"{name}_main", recipe.source.payload)
        found = next(iter(kernel.bitcode(name)), None)
        if found is None:
            raise UsageError(f"this kernel carries no bitcode of {name}; give its source with --from FILE.c")
        return read_wrapped(kernel.memory, found.address, found.size)

    def _compiled(self, wrapped: Wrapped, making: _Making, deadline: float) -> Compilation:
        key = key_of(wrapped.payload, wrapped.entry, making.level, making.recipe)
        made = self.cache.get(key) if self.cache is not None else None
        if made is None:
            compiler = self.compilers.first
            compiler.wait_ready()
            making.reached("taken")
            compiler.begin(wrapped.payload, wrapped.entry, making.level, making.recipe)
            made = self._waited(compiler.poll, deadline)
            if self.cache is not None:
                self.cache.put(key, made)
        making.times.setdefault("taken", making.times["begun"])
        making.reached("compiled")
        return made

    def _waited(self, poll: Callable[[float], T | None], deadline: float) -> T:
        while (made := poll(AGAIN_SECONDS)) is None:
            if time.monotonic() > deadline:
                self.compilers.first.give_up()
                raise BareflowError("LLVM was not done in time; wait longer with --timeout, or take a lower tier")
        return made

    def _installed(self, making: _Making, wrapped: Wrapped, deadline: float) -> _Placed:
        """Tries again while the guest is where it must not be disturbed. Raises Refused."""
        assert making.compilation is not None
        while True:
            kernel = self._kernel()
            entry = self._entry(kernel, making.name)
            _check_function(entry)
            placed = _placed(kernel, entry, making, wrapped.entry)
            making.reached("linked")
            if self.verify:
                making.verification = self._verified(kernel, placed, making, deadline)
            making.reached("verified")
            address = kernel.records.address(JIT)
            with self.stopped() as memory:
                why = _write(memory, address, placed)
            if not why:
                making.notes += _registers(kernel, entry, placed)
                return placed
            if time.monotonic() > deadline:
                raise NotSafe(why)
            time.sleep(AGAIN_SECONDS)

    def _verified(self, kernel: StockKernel, placed: _Placed, making: _Making, deadline: float) -> Verification:
        """Raises Differs when the new code would harm its caller."""
        entry, compiler = placed.entry, self.compilers.first
        compiler.wait_ready()
        size = _old_size(kernel, entry)
        start = entry.host_code.code if entry.host_code is not None else entry.current_code
        title = code_name(making.name, entry.running_level, entry.host_code.number if entry.host_code else None)
        published = Published(title, entry.current_code, ((start, start + size), (0, 0)))
        edited = making.recipe.source is not None
        pairs = inputs.choose((1, 1), (), making.name)
        begun = verification.compare(
            compiler, kernel.memory, published, placed.linked, placed.room, pairs, edited=edited
        )
        if isinstance(begun, Verification):
            return begun
        deadline = max(deadline, time.monotonic() + compiler.timeout)

        def poll(seconds: float) -> Verification | None:
            came = begun.poll()
            if came is None:
                time.sleep(seconds)
            return came

        return self._waited(poll, deadline)

    def _see_calls(self, making: _Making, before: int) -> None:
        """Whether the guest counts calls of it now, where that can be seen at once."""
        if not runs(self.guest.memory):
            return
        until = time.monotonic() + CALL_SECONDS
        while time.monotonic() < until:
            self.guest.memory.invalidate()
            try:
                calls = self._entry(self._kernel(), making.name).calls
            except BareflowError:
                return
            if calls > before:
                making.notes.append(f"the guest has counted {calls - before:,} calls since")
                return
            time.sleep(AGAIN_SECONDS)


def _check_function(entry: Entry) -> None:
    """Raises NotSafe, NoRoom for what is so at whatever moment it is looked at."""
    if not entry.name_at:
        raise NotSafe(f"the profiler does not know {entry.name}, so its record cannot be right; look at `jit`")
    if entry.freed:
        raise NoRoom(f"the code buffer of {entry.name} has been given back: nothing calls it any more; start it anew")
    if not entry.buffer:
        raise NoRoom(f"{entry.name} has no code buffer, and a kernel without a mailbox gives no other; see `pools`")
    if entry.current_code not in entry.level_codes and entry.host_code is None:
        raise NotSafe(
            f"{entry.name} runs 0x{entry.current_code:08x}, which is the code of none of its levels: whoever put that "
            "there could not be undone any more"
        )


def _placed(kernel: StockKernel, entry: Entry, making: _Making, start: str) -> _Placed:
    """The code at the end of the function's buffer. Raises NoRoom, LinkError."""
    assert making.compilation is not None
    exports = kernel.elf().by_name
    first = link(making.compilation.data, start, Room(0, 0, 0, 0), {}, exports)
    need = first if isinstance(first, NeedMore) else NeedMore(len(first.code), len(first.rodata))
    code_bytes = _aligned(need.code)
    end = (entry.buffer + entry.buffer_bytes) & -ALIGNMENT
    at = (end - code_bytes - _aligned(need.rodata) - RECORD_BYTES) & -ALIGNMENT
    used = entry.buffer + _aligned(entry.buffer_used)
    if at < used:
        free = max(0, end - used - RECORD_BYTES)
        raise NoRoom(
            f"{making.name} at O{making.level} needs {need.code + need.rodata:,} bytes, and its buffer has {free:,} of "
            f"{entry.buffer_bytes:,} left; take a lower tier"
        )
    held = kernel.memory.read(at, end - at, "place for new code")
    if held[:1] not in _FREE or held.strip(held[:1]):
        raise NoRoom(
            f"the last {end - at:,} bytes of the buffer of {making.name} hold something, and what was executed before "
            "cannot be replaced safely; take a lower tier, or start the guest anew"
        )
    room = Room(at + RECORD_BYTES, code_bytes, at + RECORD_BYTES + code_bytes, _aligned(need.rodata))
    linked = link(making.compilation.data, start, room, {}, exports)
    assert isinstance(linked, Linked)
    return _Placed(entry, linked, room, _record(kernel, entry, making.level, room, linked))


def _record(kernel: StockKernel, entry: Entry, level: int, room: Room, linked: Linked) -> Installed:
    memory, size = kernel.memory, _old_size(kernel, entry)
    before = read_installed(memory, entry.buffer, entry.buffer_bytes, entry.slot)
    made = Installed(
        number=before[0].number + 1 if before else 1,
        level=level,
        slot=entry.slot,
        code=Address(room.code),
        code_size=len(linked.code),
        size=room.rodata + len(linked.rodata) - room.code if linked.rodata else len(linked.code),
        entry=Address(room.code + linked.entry_offset),
        crc=0,
        replaced=entry.current_code,
        replaced_size=size,
        replaced_crc=zlib.crc32(memory.read(entry.current_code, size, "published code")),
        capacity=entry.buffer_bytes,
    )
    gap = bytes(room.rodata - room.code - len(linked.code)) if linked.rodata else b""
    return dataclasses.replace(made, crc=zlib.crc32(linked.code + gap + linked.rodata))


def _old_size(kernel: StockKernel, entry: Entry) -> int:
    """Bytes of the published code that are surely its own, from where calls enter it."""
    host = entry.host_code
    if host is not None:
        return host.code + host.code_size - host.entry
    return kernel.records.own_code().get(entry.current_code, 1)


def _write(memory: Memory, jit: int, placed: _Placed) -> str:
    """Writes and publishes it, the CPU being stopped; why not now, "" when it is done. Raises NotSafe, ReadError."""
    memory.invalidate()
    was, made = placed.entry, placed.installed
    now = read_entries(memory, jit).entries[was.index]
    if (now.slot, now.current_code, now.buffer, now.buffer_used, now.buffer_bytes) != (
        *(was.slot, was.current_code, was.buffer, was.buffer_used, was.buffer_bytes),
    ):
        return f"the guest swaps {was.name} itself all the time; stop it in gdb and ask there"
    if now.compiled_level > now.level or (now.needs_recompile and now.active and not now.ahead):
        return f"the guest is about to swap {was.name} itself, which would be overwritten or overwrite; let it run on"
    cpu = cpu_of(memory)
    if has_halted(memory, cpu):
        raise NotSafe(f"the guest has halted for good, and would never call new code of {was.name}; start it anew")
    if cpu is not None and made.record <= cpu.eip < made.code + made.size:
        return "the CPU executes what should be free; look at `stack`"
    memory.write(made.record, placed.data, "installed code")
    memory.invalidate()
    if memory.read(made.record, len(placed.data), "installed code") != placed.data:
        raise NotSafe("the code is not in memory as it was written; look at `bareflow list`")
    _store(memory, _capacity_word(was), made.record - was.buffer, "capacity of the code buffer")
    _store(memory, was.slot, made.entry, "published code pointer")
    return ""


def _capacity_word(entry: Entry) -> int:
    """The address of jit_ctx.code_capacity."""
    start = entry.slot - layouts.offset("jit_function_entry", "current_code")
    context = layouts.offset("jit_function_entry", "jit_ctx")
    return int(start + context + layouts.offset("jit_context", "code_capacity"))


def _store(memory: Memory, address: int, value: int, what: str) -> None:
    memory.write(address, value.to_bytes(4, "little"), what)


def _registers(kernel: StockKernel, entry: Entry, placed: _Placed) -> list[str]:
    """What the code that was replaced does to its caller, and the new code does not."""
    old = kernel.memory.read(entry.current_code, _old_size(kernel, entry), "replaced code")
    kept = {lost.register for lost in not_saved(placed.linked.code, placed.room.code)}
    lost = [one.register.upper() for one in not_saved(old, entry.current_code) if one.register not in kept]
    return [f"the replaced code overwrites {', '.join(lost)} of its caller, the new one keeps it"] if lost else []


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT


def _outcome(making: _Making, state: str, refusal: Refused | None = None, *, placed: _Placed | None = None) -> Outcome:
    made = making.compilation
    notes = (*(made.notes if made is not None else ()), *making.notes)
    phases = Phases(
        compile=making.between("taken", "compiled"),
        link=making.between("compiled", "linked"),
        verify=making.between("linked", "verified") if making.verification is not None else None,
        install=making.between("verified", "done"),
        total=making.between("begun", "done"),
    )
    record = Outcome(
        function=making.name,
        request=0,
        level=making.level,
        state=state,
        reason=refusal.reason.removeprefix("BF_REASON_").lower() if refusal is not None else "none",
        message=str(refusal) if refusal is not None else "",
        milliseconds=phases,
        remarks=made.remarks if made is not None else (),
        passes=made.passes if made is not None else (),
        notes=notes,
        kept=making.kept,
        from_cache=made is not None and made.cached,
        verification=making.verification,
    )
    if placed is None:
        return record
    one, left = placed.installed, placed.installed.record - placed.entry.buffer - placed.entry.buffer_used
    return dataclasses.replace(
        record,
        version=one.number,
        code=one.code,
        code_size=one.code_size,
        rodata=Address(placed.room.rodata if placed.linked.rodata else 0),
        rodata_size=len(placed.linked.rodata),
        replaced=one.replaced,
        notes=(
            *notes,
            f"at the end of the function's own buffer, {left:,} bytes are left there; a swap of its own replaces it",
        ),
    )
