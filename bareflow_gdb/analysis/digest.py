"""What happened in a trace, all questions asked once? HTML report and text summary are made from this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bareflow_gdb.analysis.agree import Agreement, compare
from bareflow_gdb.analysis.latencies import PhaseSummary, summarise, swap_times
from bareflow_gdb.analysis.overview import Overview, overview
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.code_diff import Row, align, disassemble
from bareflow_gdb.guest.code.jit import Jit
from bareflow_gdb.guest.code.profiler import Profile
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.machine.exception import ExceptionRecord
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.pools.pools import Pools
from bareflow_gdb.tracing.manifest import Source
from bareflow_gdb.tracing.store import Loss, Trace

T = TypeVar("T")

MAX_COMPARISONS = 200


@dataclass(frozen=True)
class Comparison:
    """The code of both sides of one swap."""

    swap: Swap
    old_size: int
    new_size: int
    equal: bool
    rows: tuple[Row, ...]
    missing: str
    """Why there are no rows, "" when there are."""


@dataclass(frozen=True)
class Digest:
    """The answers that a trace gives: None where it does not hold one, then `missing` says why."""

    overview: Overview
    sources: tuple[Source, ...]
    losses: tuple[Loss, ...]
    swaps: Swaps
    latencies: tuple[PhaseSummary, ...]
    agreement: Agreement
    comparisons: tuple[Comparison, ...]
    boot: Boot | None
    modules: Modules | None
    pools: Pools | None
    profile: Profile | None
    jit: Jit | None
    exception: ExceptionRecord | None
    findings: tuple[Finding, ...]
    """What the checks found in the snapshot and in what was printed."""
    serial: str
    missing: tuple[str, ...]


def tell(trace: Trace) -> Digest:
    """Asks everything; raises BadData when the events themselves cannot be read."""
    missing: list[str] = []

    def ask(what: str, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except BareflowError as error:
            missing.append(f"{what}: {error}")
            return None

    kernel = ask("memory", lambda: Guest.attach(trace.memory(), trace.symbols).kernel())
    swaps, serial = trace_swaps(trace), trace.serial()
    return Digest(
        overview=overview(trace, swaps),
        sources=trace.manifest.sources,
        losses=tuple(trace.losses()),
        swaps=swaps,
        latencies=tuple(summarise(swap_times(trace))),
        agreement=compare(serial, swaps.swaps),
        comparisons=tuple(_compare(trace, swap) for swap in swaps.swaps[:MAX_COMPARISONS]),
        boot=ask("boot", kernel.boot) if kernel else None,
        modules=ask("modules", lambda: kernel.modules(check=True)) if kernel else None,
        pools=ask("pools", lambda: kernel.pools(check=True)) if kernel else None,
        profile=ask("profile", kernel.profile) if kernel else None,
        jit=ask("adaptive JIT", kernel.jit) if kernel else None,
        exception=ask("exception", kernel.exception) if kernel else None,
        findings=registry.run(Subject(lambda: kernel, serial=lambda: serial, trace=trace)).findings if kernel else (),
        serial=serial,
        missing=tuple(missing),
    )


def _compare(trace: Trace, swap: Swap) -> Comparison:
    try:
        if swap.from_version is None:
            raise BareflowError("the trace does not say which version ran before")
        old, new = trace.code_bytes(swap.from_version), trace.code_bytes(swap.to_version)
    except BareflowError as error:
        return Comparison(swap, 0, 0, False, (), str(error))
    at = trace.codes[swap.from_version].address, trace.codes[swap.to_version].address
    rows = align(disassemble(old, at[0]), disassemble(new, at[1]))
    return Comparison(swap, len(old), len(new), old == new or swap.same_code, tuple(rows), "")


@dataclass(frozen=True)
class Verdict:
    """One line that a reader wants first; `kind` is "good", "note" or "bad"."""

    kind: str
    text: str


def verdicts(digest: Digest) -> list[Verdict]:
    """Loss, completeness, agreement; then what is wrong, and what is worth a look."""
    view, told = digest.overview, digest.agreement
    same_story = f"log and ring agree on {told.ring_swaps} swaps"
    complete = "recording complete" if view.complete else "the recorder was killed: read from its journal"
    judged = (
        (view.lost == 0, f"{view.lost:,} of {view.events + view.lost:,} events lost"),
        (view.complete, complete),
        (told.agree, same_story if told.agree else f"log and ring disagree in {len(told.disagreements)} places"),
    )
    found = [Verdict("good" if good else "bad", text) for good, text in judged]
    if digest.boot is not None and not digest.boot.ok:
        found.append(Verdict("bad", f"boot: {'; '.join(digest.boot.problems) or digest.boot.stage}"))
    found += [Verdict("bad" if one.bad else "note", f"{one.check}: {one}") for one in digest.findings]
    same = sum(1 for swap in digest.swaps.swaps if swap.same_code)
    if same:
        found.append(Verdict("note", f"{same} swaps to equal code: the compiler found nothing to improve"))
    return found
