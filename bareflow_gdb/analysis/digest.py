"""What do a trace, a guest's memory and its serial log tell, all questions asked once?

HTML report and text summary are made from this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from bareflow_gdb.analysis.activity import Activity, activity
from bareflow_gdb.analysis.agree import Agreement, compare
from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.analysis.comparisons import Comparison, compared
from bareflow_gdb.analysis.evidence import EVENTS, LOG, MEMORY, Evidence
from bareflow_gdb.analysis.latencies import PhaseSummary, summarise, swap_times
from bareflow_gdb.analysis.overview import Overview, overview
from bareflow_gdb.analysis.second_source import SecondSource, second_sources
from bareflow_gdb.analysis.swaps import logged_swaps, trace_swaps
from bareflow_gdb.analysis.writing import Writing, writing
from bareflow_gdb.analysis.zero import clock_of
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.registry import Findings
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.code.log_lines import boots
from bareflow_gdb.guest.code.profiler import Profile
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.machine.serial import Serial, serial_from_log
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.own import LibraryKernel
from bareflow_gdb.guest.pools.pools import Pools
from bareflow_gdb.guest.status import Status
from bareflow_gdb.tracing.losses import Loss
from bareflow_gdb.tracing.manifest import Source

T = TypeVar("T")


@dataclass(frozen=True)
class Digest:
    """The answers that the sources give: None where they do not hold one, then `missing` says why."""

    title: str
    kernel: str
    """Variant and build, as far as they are known."""
    sources: dict[str, str]
    """EVENTS, MEMORY and LOG, those that are there, with where each comes from."""
    clock: Clock
    boot_clock: Clock
    """The guest's own; another one where events were seen from outside."""
    overview: Overview | None
    """Of a trace."""
    accounts: tuple[Source, ...]
    losses: tuple[Loss, ...]
    swaps: Swaps | None
    swaps_from: str
    """EVENTS, MEMORY or LOG."""
    latencies: tuple[PhaseSummary, ...]
    activity: Activity | None
    """None when no source tells a time."""
    writing: Writing | None
    """None when no event tells of a token."""
    agreement: Agreement | None
    """The log against the events, else against memory."""
    second: tuple[SecondSource, ...]
    """What the kernel exported on COM1 against memory."""
    comparisons: tuple[Comparison, ...]
    status: Status | None
    boot: Boot | None
    modules: Modules | None
    pools: Pools | None
    profile: Profile | None
    checks: Findings
    serial: Serial | None
    missing: tuple[str, ...]
    provenance: tuple[str, ...]
    """How the records in memory were found, and what cannot be told of them."""


def tell(evidence: Evidence) -> Digest:
    """Asks everything; raises BadData when the events of a trace cannot be read."""
    missing: list[str] = []
    provenance: list[str] = []

    def ask(what: str, question: Callable[[Kernel], T]) -> T | None:
        try:
            if kernel is None:
                return None
            asked = evidence.kernel()
            answer = asked.answered(question(asked))
            provenance.extend(answer.lines())
            return answer.record
        except BareflowError as error:
            missing.append(f"{what}: {error}")
            return None

    kernel = _kernel(evidence, missing)
    trace = evidence.trace
    swaps = trace_swaps(trace) if trace else ask("swaps", lambda kernel: kernel.swaps(every=True))
    evidence = _with_log(evidence, kernel)
    log = evidence.serial.text if evidence.serial else ""
    agreement = _agreement(evidence, log, swaps)
    swaps_from = EVENTS if trace else MEMORY if swaps is not None else LOG
    if swaps is None and evidence.serial is not None:
        swaps = logged_swaps(log)
        if kernel is not None and not swaps.swaps:
            swaps = None
    status = ask("status", lambda kernel: kernel.status())
    boot = _boot(kernel)
    modules = ask("modules", lambda kernel: kernel.modules(check=True))
    profile = ask("profile", lambda kernel: kernel.profile())
    view = overview(trace, swaps) if trace and swaps else None
    times = swap_times(trace) if trace else []
    pools = ask("pools", lambda kernel: kernel.pools(check=True))
    clock = clock_of(view, boot, swaps)
    seen = view is not None and view.seen_from_outside
    in_memory = None
    if seen and kernel is not None and kernel.root is not None:
        in_memory = ask("swaps in memory", lambda kernel: kernel.swaps(every=True))
    listed = swaps.swaps if swaps else ()
    subject = evidence.subject()
    if trace is None and kernel is not None and kernel.root is not None and not subject.log_is_whole:
        missing.append(f"{LOG}: it does not reach from the kernel's first line to its last; checks saw a part of it")
    return Digest(
        title=evidence.title,
        kernel=_kernel_words(view, status),
        sources=evidence.sources(),
        clock=clock,
        boot_clock=clock_of(None, boot, in_memory) if in_memory is not None else clock,
        overview=view,
        accounts=trace.manifest.sources if trace else (),
        losses=tuple(trace.losses()) if trace else (),
        swaps=swaps,
        swaps_from=swaps_from,
        latencies=tuple(summarise(times)),
        activity=activity(trace, view, None if seen else boot, listed, times, pools, log, clock.last),
        writing=writing(trace, listed) if trace else None,
        agreement=agreement,
        # An application exports what it has counted itself, which is not what the kernel's profiler counts.
        second=() if isinstance(kernel, LibraryKernel) else second_sources(log, modules, profile, swaps),
        comparisons=tuple(compared(trace, kernel, swaps)) if swaps and swaps_from != LOG else (),
        status=status,
        boot=boot,
        modules=modules,
        pools=pools,
        profile=profile,
        checks=registry.run(subject),
        serial=evidence.serial,
        missing=tuple(missing),
        provenance=tuple(dict.fromkeys(provenance)),
    )


def _kernel(evidence: Evidence, missing: list[str]) -> Kernel | None:
    if evidence.guest is None and not evidence.no_guest:
        return None
    try:
        return evidence.kernel()
    except BareflowError as error:
        missing.append(f"memory: {error}")
        return None


def _boot(kernel: Kernel | None) -> Boot | None:
    """None where no record was written: what can be told of such a boot is for the question `boot`."""
    try:
        return None if kernel is None else kernel.boot()
    except BareflowError:
        return None


def _with_log(evidence: Evidence, kernel: Kernel | None) -> Evidence:
    """Where COM1 was not kept, the kernel's own log buffer tells the end of what was printed."""
    if evidence.serial is not None or kernel is None or kernel.root is None:
        return evidence
    try:
        return replace(evidence, serial=serial_from_log(kernel.log()), serial_from="the kernel's own log buffer")
    except BareflowError:
        return evidence


def _kernel_words(view: Overview | None, status: Status | None) -> str:
    if view is not None:
        return f"{view.variant} {view.build_id[:12] or 'unknown build'}"
    if status is None:
        return "known by what it printed alone"
    if not status.variant:
        return "unknown kernel"
    return f"{status.variant} {status.build_id[:12]}" if status.abi else f"{status.variant}, no debug interface"


def _agreement(evidence: Evidence, log: str, swaps: Swaps | None) -> Agreement | None:
    if swaps is None or evidence.serial is None:
        return None
    if evidence.trace is not None:
        manifest = evidence.trace.manifest
        if manifest.missed or manifest.filter:
            # What the log has more of it says itself that it may have missed, or has left out.
            return None
        return compare(log, swaps.swaps, manifest.kind)
    # Memory has what is there now: of the last boot.
    last = boots(log)[-1] if log else ""
    found = compare(last, swaps.swaps, "memory", same_stretch=False)
    return found if found.log_swaps or found.other_swaps else None


def counted(number: int, what: str) -> str:
    """`1 swap`, `2 swaps`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Verdict:
    """One line that a reader wants first; `kind` is "good", "note" or "bad"."""

    kind: str
    text: str


def verdicts(digest: Digest) -> list[Verdict]:
    """What is wrong, then what is worth a look, then what is well."""
    found = [*_of_recording(digest), *_of_sources(digest)]
    found += [Verdict("bad" if one.bad else "note", f"{one.check}: {one}") for one in digest.checks.findings]
    if digest.boot is not None and not digest.boot.ok:
        found.append(Verdict("bad", f"boot: {'; '.join(digest.boot.problems) or digest.boot.stage}"))
    for part, problems in (
        ("pools", digest.pools.all_problems() if digest.pools else ()),
        ("modules", digest.modules.all_problems() if digest.modules else ()),
        ("profile", digest.profile.problems if digest.profile else ()),
        ("status", _of_status(digest)),
    ):
        known = " ".join(map(str, digest.checks.findings))
        problems = [line for line in problems if line not in known]
        if problems:
            more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
            found.append(Verdict("bad", f"{part}: {problems[0]}{more}"))
    same = sum(1 for swap in digest.swaps.swaps if swap.same_code) if digest.swaps else 0
    if same:
        found.append(Verdict("note", f"{counted(same, 'swap')} to equal code, which is no faster"))
    passed = sum(1 for one in digest.checks.checks if one.state == registry.PASSED)
    if digest.checks.ok and passed:
        found.append(
            Verdict("good", f"{passed:,} of {len(digest.checks.checks):,} checks could look, and found nothing wrong")
        )
    return sorted(found, key=lambda verdict: ("bad", "note", "good").index(verdict.kind))


def _of_status(digest: Digest) -> list[str]:
    """What status says is wrong, without what another part or a check says."""
    problems = digest.status.problems if digest.status else ()
    elsewhere = digest.boot.problems if digest.boot else ()
    found = tuple(one.what for one in digest.checks.findings)
    return [line for line in problems if line not in elsewhere and not (found and line.startswith(found))]


def _of_recording(digest: Digest) -> list[Verdict]:
    view = digest.overview
    if view is None:
        return []
    complete = "recording complete" if view.complete else "the recorder was killed: read from its journal"
    if view.missed:
        how = "; ".join(source.confidence for source in view.sources)
        return [
            Verdict("bad", f"{counted(view.missed, 'swap')} that the guest's tables count no event shows: {how}"),
            Verdict("good" if view.complete else "bad", complete),
        ]
    judged = ((view.lost == 0, f"{view.lost:,} of {view.events + view.lost:,} events lost"), (view.complete, complete))
    found = [Verdict("good" if good else "bad", text) for good, text in judged]
    if view.filter:
        what = f"of {view.events + view.left_out:,} events {view.left_out:,} were left out"
        found.append(Verdict("note", f"{what}: only {'; '.join(view.filter)} was kept"))
    return [*found, *(Verdict("bad", sentence) for sentence in view.unmet)]


def _of_sources(digest: Digest) -> list[Verdict]:
    found = []
    told = digest.agreement
    if told is not None:
        same_story = f"log and {told.other} agree on {counted(told.agreed, 'swap')}"
        differ = f"log and {told.other} disagree in {counted(len(told.disagreements), 'place')}"
        if not told.agree or told.agreed or told.other != "memory":
            found.append(Verdict("good" if told.agree else "bad", same_story if told.agree else differ))
        if told.uncovered:
            found.append(Verdict("note", f"{counted(len(told.uncovered), 'swap')} told by the log or by memory alone"))
    for second in digest.second:
        if second.contradictions:
            more = len(second.contradictions) - 1
            words = f"; and {more:,} more" if more else ""
            found.append(Verdict("bad", f"log and memory contradict: {second.contradictions[0]}{words}"))
        elif second.against and second.agreed:
            found.append(Verdict("good", f"log and memory agree on {second.agreed:,} figures of {second.against}"))
        found += [Verdict("note", f"exported {second.against or 'profile'}: {line}") for line in second.incomplete]
    return found
