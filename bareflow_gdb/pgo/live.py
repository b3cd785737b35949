"""How is a function of a running guest compiled by the counts of its own blocks?

For a while a version runs that counts them, in memory of its own. The host reads the counters out of the guest's RAM,
the version from before is put back, and clang compiles the guest's bitcode by what was counted.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest import obeying, orders
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.control import ALLOW, ROLLBACK, WAIT_SECONDS
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.functions import Function, read_functions
from bareflow_gdb.guest.code.outcome import ANSWER_SECONDS
from bareflow_gdb.pgo.compiling import with_counts
from bareflow_gdb.pgo.counts import FunctionCounts
from bareflow_gdb.pgo.instrumented import counting_bitcode, read_counts
from bareflow_gdb.recompile.jobs import Job
from bareflow_gdb.recompile.objects import COUNTERS, read_object
from bareflow_gdb.recompile.recipe import Recipe, Source
from bareflow_gdb.recompile.service import Service
from bareflow_gdb.recompile.wrapped import Wrapped, read_wrapped

LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Counting:
    """For how long a function is counted: until it was called this often, or for so many seconds."""

    calls: int = 1
    seconds: float = 10.0
    arguments: bool = False
    """Counted are its arguments, and not its blocks."""


BLOCKS_USUALLY = Counting()


@dataclass(frozen=True)
class Counted:
    """How often the blocks of a function ran, and the bitcode that they are the blocks of."""

    bitcode: Wrapped
    functions: tuple[FunctionCounts, ...]


def by_counts(
    service: Service,
    name: str,
    level: int,
    recipe: Recipe,
    counting: Counting,
    timeout: float = ANSWER_SECONDS,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Recipe:
    """`recipe` with the function's own bitcode, in which stands how often each of its blocks ran in this guest.

    `progress` is told what is done, and which share of the calls is counted. Raises like `count`.
    """
    found = count(service, name, level, recipe, counting, timeout, progress)
    progress("compiling by the counts", 1.0)
    return replace(recipe, source=Source(_compiled(found, name, level), found.bitcode.entry, edited=False))


def count(
    service: Service,
    name: str,
    level: int,
    recipe: Recipe,
    counting: Counting,
    timeout: float = ANSWER_SECONDS,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Counted:
    """Has the guest run a version that counts, for a while.

    Raises UsageError for O0, for a recipe with a source and for a function without bitcode; DoesNotCompile, BadData;
    BareflowError when the counting version was refused, not called, or not taken back.
    """
    if level == 0:
        raise UsageError("O0 takes no notice of counts; profile for O1, O2 or O3")
    function, bitcode = bitcode_to_count(service, name, recipe)
    made = counting_bitcode(bitcode.payload, name)
    called = calls_of(service, function)
    with version_that_counts(service, function, level, counts_itself(recipe, made.image, bitcode), timeout) as symbols:
        wait_for_calls(service, function, called, counting, progress)
        counts = read_counts(service.memory, symbols, made.counters, name)
    if not any(any(one.counts) for one in counts):
        raise BareflowError(f"{name} was not called within {counting.seconds:g} s, so nothing was counted; wait longer")
    return Counted(bitcode, counts)


def bitcode_to_count(service: Service, name: str, recipe: Recipe) -> tuple[Function, Wrapped]:
    """A function and its own bitcode. Raises UsageError where that is not what is to be compiled, BadBitcode."""
    known = service.find(name)
    # Its version as it is now: that is the one to be put back.
    now = read_functions(service.memory, service.root, read_counters(service.memory, service.root), [])
    function = next((one for one in now if (one.index, one.name) == (known.index, name)), None)
    if function is None:
        raise BareflowError(f"{name} is gone: the guest was restarted; ask again")
    if recipe.source is not None:
        raise UsageError("counted is the function's own bitcode; leave either the file or the profile out")
    if not function.bitcode:
        raise UsageError(f"{name} has no bitcode in the guest, so no version of it that counts can be made")
    return function, read_wrapped(service.memory, function.bitcode, function.bitcode_size)


def counts_itself(recipe: Recipe, image: bytes, bitcode: Wrapped) -> Recipe:
    """How a version is compiled that counts."""
    return replace(recipe, source=Source(image, bitcode.entry))


@contextmanager
def version_that_counts(
    service: Service, function: Function, level: int, recipe: Recipe, timeout: float
) -> Iterator[dict[str, GuestSymbol]]:
    """Has the guest run it for the time of the block; then the version from before runs again.

    Gives where its counters are. Raises BareflowError when it was refused, or not taken back.
    """
    # It does something else than the published code: it counts.
    job, outcome = service.carry_out(function.name, level, timeout, recipe=recipe, verify=False)
    if not outcome.installed:
        raise BareflowError(f"the version of {function.name} that counts was not installed: {outcome.message}")
    try:
        yield _counters(job)
    finally:
        put_back(service, function.name, function.version, "that counts")


def put_back(service: Service, name: str, version: int, which: str) -> None:
    """Makes a version run again in the place of the new one, of these words. Raises BareflowError when it does not."""
    # A version that was rolled back by hand is vetoed from then on; this one is to make room for a better one.
    for action, what in ((ROLLBACK, str(version)), (ALLOW, None)):
        told = orders.order(service.memory, service.root, action, name, what)
        if isinstance(told, orders.Order):
            told = obeying.carried_out(service.memory, service.root, told, WAIT_SECONDS)
        if not told.done:
            raise BareflowError(
                f"the version of {name} {which} is still there: {told.message}; "
                f"`{shlex.join(('bareflow', 'swap', 'rollback', name))}` puts the one from before back"
            )


def wait_for_calls(
    service: Service, function: Function, before: int, counting: Counting, progress: Callable[[str, float], None]
) -> None:
    """Until it was called so often since it had `before` calls, or the time is over."""
    began = time.monotonic()
    while (seen := calls_of(service, function) - before) < counting.calls:
        if time.monotonic() - began >= counting.seconds:
            break
        progress(f"{seen:,} of {counting.calls:,} calls counted", seen / counting.calls)
        time.sleep(LOOK_SECONDS)


def calls_of(service: Service, function: Function) -> int:
    """How often the guest called it so far."""
    service.memory.invalidate()
    address = service.root.function_profiler + function.profiler_id * layouts.size("function_profile")
    return int(one(service.memory, "function_profile", address, "function profile").call_count)


def _counters(job: Job) -> dict[str, GuestSymbol]:
    """Where the counters of the version that was installed are."""
    linked = job.linked
    if linked is None:
        raise BareflowError(f"another process compiled {job.function.name}; end that one to count here")
    base = linked.sections[COUNTERS]
    return {
        symbol.name: GuestSymbol(symbol.name, Address(base + symbol.value), symbol.size)
        for symbol in read_object(linked.data).symbols
        if symbol.piece is not None and symbol.piece.name == COUNTERS and not symbol.is_section
    }


def _compiled(found: Counted, name: str, level: int) -> bytes:
    with TemporaryDirectory(prefix="bfp-") as folder:
        path = Path(folder) / f"{name}.bc"
        path.write_bytes(found.bitcode.payload)
        return with_counts(path, level, found.functions)
