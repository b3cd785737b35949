"""Do the records that a swap writes agree: function, version, JIT entry, profiler, and their times?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit import JitFunction, Recorded, recorded

_LEVELS = range(4)


def _look(subject: Subject) -> Iterator[Finding]:
    known = {value.removeprefix("BF_VERSION_").lower() for value in layouts.enum_values("bf_version_state")}
    numbers = Counter(version.number for version in subject.versions)
    for version in subject.versions:
        for wrong in _impossible(version, subject, known):
            yield _finding(f"the record of {version.title} cannot be", wrong)
        if numbers[version.number] > 1:
            yield _finding(f"{numbers[version.number]} versions have number {version.number}", version.title)
            numbers[version.number] = 1
    kept = recorded(subject.kernel.memory, subject.kernel.need_interface("it keeps no versions"), subject.functions)
    # A guest that runs may register one meanwhile.
    for function, entry in zip(subject.jit.functions, kept, strict=False):
        if function.is_being_recorded:
            continue
        for wrong in _contradicts(function, entry):
            yield _finding(f"the records of the last swap of {function.name} differ", wrong)
    for swap in subject.kernel.swaps(every=True).swaps:
        if swap.reason == "threshold" and swap.from_level is not None and swap.to_level <= swap.from_level:
            yield _finding(
                f"a threshold led {swap.function} from O{swap.from_level} to O{swap.to_level}",
                f"version {swap.to_version}: a threshold asks for a higher tier",
            )


def _impossible(version: Version, subject: Subject, known: set[str]) -> Iterator[str]:
    if version.state not in known:
        yield f"its state is {version.state}"
    if version.level not in _LEVELS:
        yield f"its tier is O{version.level}"
    if version.number > subject.counters.version_count:
        yield f"its number is {version.number:,}, the newest is {subject.counters.version_count:,}"
    if version.function >= len(subject.functions):
        yield f"it is of function {version.function}, there are {len(subject.functions)}"
    if version.state in ("published", "retired") and not version.tsc_published:
        yield f"it is {version.state}, and has no time of publication"
    if 0 < version.tsc_retired < version.tsc_published and version.state == "retired":
        yield f"it was retired at TSC {version.tsc_retired:,}, published at {version.tsc_published:,}"
    if version.state == "retired" and 0 < version.tsc_retired < version.tsc_first:
        yield f"it first ran at TSC {version.tsc_first:,}, retired at {version.tsc_retired:,}"
    same = next((one for one in subject.versions if one.number == version.same_as), None)
    if version.same_as >= version.number or (same is not None and same.function != version.function):
        yield f"it says that its code is that of version {version.same_as}"
    if same is not None and same.code_size != version.code_size:
        yield f"it says that its code is that of {same.title}, which has {same.code_size:,} bytes"


def _contradicts(function: JitFunction, entry: Recorded | None) -> Iterator[str]:
    published = [one for one in function.versions if one.state == "published"]
    if len(published) != 1:
        yield f"{len(published)} of its versions are published"
        return
    version = published[0]
    if version.number != function.version:
        yield f"the function table has version {function.version}, the version table {version.title}"
    if version.level != function.level:
        yield f"the function table has O{function.level}, the version table {version.title}"
    of_level = function.level_codes[function.level] if function.level < len(function.level_codes) else version.entry
    if of_level != version.entry:
        yield f"O{function.level} is at 0x{of_level:08x}, {version.title} at 0x{version.entry:08x}"
    last = function.tsc_last_swap
    if last and last != version.tsc_published:
        yield f"its last swap was at TSC {last:,}, {version.title} was published at {version.tsc_published:,}"
    if entry is None:
        return
    if (last and entry.compiled_level != version.level) or entry.profiled_level != version.level:
        levels = f"the JIT's entry has O{entry.compiled_level}, the profiler O{entry.profiled_level}"
        yield f"{levels}, it is {version.title}"
    if (entry.buffer, entry.size) != (version.code, version.code_size):
        yield f"the JIT's entry has {entry.size:,} bytes at 0x{entry.buffer:08x}, {version.title} has " + (
            f"{version.code_size:,} at 0x{version.code:08x}"
        )
    if entry.profiled_address != version.entry:
        yield f"the profiler has 0x{entry.profiled_address:08x}, {version.title} is entered at 0x{version.entry:08x}"


def _finding(what: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        evidence=evidence,
        consequence="what is told of the running code, and what is decided by it, is wrong",
        next_step="`jit` and `swaps` show the records; look at what the kernel writes after its publishing store",
    )


CHECK = Check("swap_records", "what a swap leaves in function, version, JIT entry and profiler", (ROOT,), _look)
