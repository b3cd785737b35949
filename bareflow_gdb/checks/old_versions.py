"""Does anything still run, or return to, code that was replaced or freed?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import REGISTERS, ROOT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.events import MOST, read_last
from bareflow_gdb.guest.code.functions import version_at
from bareflow_gdb.guest.code.jit_code import IN_MEMORY

_RUNS = frozenset({"call", "first_execution"})


def _look(subject: Subject) -> Iterator[Finding]:
    root = subject.kernel.need_interface("it keeps no versions")
    retired = {one.number: one for one in subject.versions if one.state in ("retired", "freed") and one.tsc_retired}
    told: set[int] = set()
    for event in read_last(subject.kernel.memory, root, 0, MOST, _RUNS) if root.rings[0] else ():
        version = retired.get(event.fields()["version"])
        if version is None or event.tsc <= version.tsc_retired or version.number in told:
            continue
        told.add(version.number)
        yield _finding(
            f"{version.title} was entered after it was replaced",
            f"0x{version.entry:08x}",
            f"event {event.seq} ({event.type}) at TSC {event.tsc:,}; it was retired at {version.tsc_retired:,}",
        )
    if not subject.asking_stops and not subject.lacks(REGISTERS):
        yield from _returns(subject)


def _returns(subject: Subject) -> Iterator[Finding]:
    try:
        frames = subject.kernel.stack().frames
    except BareflowError:
        return
    code = [block for kind, block in subject.blocks if kind == "code"]
    for frame in frames:
        block = next((one for one in code if one.start <= frame.code < one.end), None)
        if block is None:
            continue
        version = version_at(subject.versions, frame.code)
        doing = "the CPU is" if frame.number == 0 else f"frame {frame.number} of the stack returns"
        if block.state != "used":
            of = f", which was {version.title}" if version is not None else ""
            yield _finding(f"{doing} in freed code{of}", f"0x{frame.code:08x}", f"its block is {block.state}")
        elif version is not None and version.state not in IN_MEMORY:
            yield _finding(f"{doing} in {version.title}", f"0x{frame.code:08x}", f"it is {version.state}")


def _finding(what: str, where: str, evidence: str) -> Finding:
    return Finding(
        what=what,
        where=where,
        evidence=evidence,
        consequence="old code runs beside the new one, or bytes that are something else by now",
        next_step="`stack` shows the callers, `jit` the versions; swap and free at a safe point only",
    )


CHECK = Check("old_versions", "calls, the CPU and return addresses against replaced and freed code", (ROOT,), _look)
