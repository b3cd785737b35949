"""Which of the suite's parts can work on this guest, which cannot, why, and what to do?"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, ReadError
from bareflow_gdb.guest.base.absent import Absent
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.own import NoKernel
from bareflow_gdb.memory.protocol import Memory

WORKS, LIMITED, FAILS = "works", "limited", "fails"


@dataclass(frozen=True)
class Check:
    """One part: `state` is "works", "limited" (something is not there, and that may be as it should) or "fails"."""

    part: str
    state: str
    found: str
    advice: str = ""
    """What to do, "" when there is nothing to do."""


@dataclass(frozen=True)
class Diagnosis:
    """All checks; `healthy` when none fails."""

    healthy: bool
    checks: tuple[Check, ...]


def diagnosis(checks: list[Check]) -> Diagnosis:
    """The verdict on all of them."""
    return Diagnosis(all(check.state != FAILS for check in checks), tuple(checks))


def attempt(part: str, look: Callable[[], Check]) -> Check:
    """What `look` finds; a part that raises fails, with its reason."""
    try:
        return look()
    except BareflowError as error:
        reason, _, advice = str(error).partition("; ")
        return Check(part, FAILS, reason, advice)


def check_guest(guest: Guest) -> list[Check]:
    """Memory, boot record, root descriptor or the way around it, tables, registers.

    Read budget: 10 packets; the larger tables only where reading is free. A stock kernel's cost what they cost.
    """
    memory = attempt("memory", lambda: _memory(guest.memory))
    try:
        kernel = guest.kernel()
    except BareflowError as error:
        return [memory, Check("tables", FAILS, str(error))]
    checks = [
        memory,
        attempt("boot record", lambda: _boot(kernel)),
        *(_own(guest, kernel, kernel.root) if kernel.root is not None else _without_root(guest, kernel)),
    ]
    checks.append(attempt("registers", lambda: _registers(guest.memory)))
    return checks


def _own(guest: Guest, kernel: Kernel, root: Root) -> list[Check]:
    found = f"by {guest.found_by} at 0x{root.address:08x}, interface {root.abi}, build {root.build_id[:12]}"
    checks = [
        Check("root descriptor", FAILS, "; ".join(root.problems), "compare image and ELF, boot again")
        if root.problems
        else Check("root descriptor", WORKS, found),
        Check("layout", WORKS, f"given by interface {root.abi}"),
        attempt("events", lambda: _counted("events", kernel.rings())),
    ]
    if guest.memory.packets == 0:
        tables: tuple[tuple[str, int, Callable[[], Sized]], ...] = (
            ("modules", root.module_manager, lambda: kernel.modules().modules),
            ("pools", root.pools, lambda: kernel.pools().pools),
            ("jit", root.adaptive_jit, lambda: kernel.jit().functions),
            ("mailbox", root.mailbox, lambda: kernel.mailbox().slots),
            ("profile", root.jit_profile, lambda: kernel.profile().functions),
        )
        checks += [attempt(part, lambda p=part, t=told: _counted(p, t())) for part, at, told in tables if at]  # type: ignore[misc]
    booting = _booting(kernel)
    return [_not_yet(check, booting) if booting and check.state == FAILS else check for check in checks]


def _booting(kernel: Kernel) -> str:
    """The stage of a kernel that sets its tables up at this moment; "" = it has."""
    try:
        record = kernel.boot()
    except BareflowError:
        return ""
    return record.stage if not record.problems and record.stage_number < layouts.const("BF_STAGE_REGISTERED") else ""


def _not_yet(check: Check, stage: str) -> Check:
    return Check(check.part, LIMITED, f"not set up yet: the boot is at stage {stage}")


def _memory(memory: Memory) -> Check:
    try:
        memory.read(0, 1024, "interrupt vectors")
    except ReadError as error:
        return Check("memory", LIMITED, str(error), "what lies elsewhere can be asked all the same")
    how = "while the guest runs too" if memory.live else "as it is at this stop"
    return Check("memory", WORKS, f"read through the {memory.name}, {how}")


def _boot(kernel: Kernel) -> Check:
    try:
        record = kernel.boot()
    except BareflowError as error:
        return Check("boot record", LIMITED, str(error), "boot stages are not known; `bf step-boot` shows the code")
    if record.problems:
        return Check("boot record", FAILS, record.problems[0], "`boot` shows all of it")
    return Check("boot record", WORKS, f"stage {record.stage}")


PARTS: tuple[tuple[str, Callable[[Kernel], object]], ...] = (
    ("modules", lambda kernel: kernel.modules()),
    ("pools", lambda kernel: kernel.pools()),
    ("jit", lambda kernel: kernel.jit()),
    ("profile", lambda kernel: kernel.profile()),
)
"""What a stock kernel is asked; none stands for another."""


def _without_root(guest: Guest, kernel: Kernel) -> list[Check]:
    """A stock kernel, found by other ways, or none yet."""
    if isinstance(kernel, NoKernel):
        text, _, advice = str(kernel.reason).partition("; ")
        return [Check("root descriptor", LIMITED, text, advice)]
    checks = [
        Check(
            "root descriptor",
            LIMITED,
            "a stock kernel, without debug interface",
            "versions, events and the mailbox need the debug interface",
        )
    ]
    unknown: list[str] = []
    for part, question in PARTS:
        checks.append(attempt(part, lambda part=part, question=question: _found(guest, part, question, unknown)))  # type: ignore[misc]
    size = guest.places.generation().profile_bytes
    if any(check.part == "modules" and check.state == WORKS for check in checks):
        checks.insert(1, Check("layout", WORKS, f"module records of {size} bytes, recognised from the data"))
    if unknown:
        checks.append(Check("not known", LIMITED, "; ".join(dict.fromkeys(unknown))))
    return checks


def _found(guest: Guest, part: str, question: Callable[[Kernel], object], unknown: list[str]) -> Check:
    """A part that the kernel does not have, or not yet, or no more, is no failure of the suite."""
    try:
        answer = guest.answer(question)
    except Absent as error:
        reason, _, advice = str(error).partition("; ")
        return Check(part, LIMITED, reason, advice)
    unknown += answer.unknown
    return Check(part, WORKS, _how(answer) or "found")


def _how(answer: Answer[object]) -> str:
    return ", ".join(f"{item.what} by {item.how} ({item.confidence})" for item in answer.found)


def _counted(part: str, records: Sized) -> Check:
    count = len(records)
    return Check(part, WORKS if count else LIMITED, f"{count} found" if count else "none yet")


def _registers(memory: Memory) -> Check:
    try:
        registers = memory.cpu()
    except BareflowError as error:
        return Check("registers", LIMITED, str(error))
    mode = "protected" if registers.control["cr0"] & 1 else "real"
    return Check("registers", WORKS, f"{mode} mode, eip 0x{registers.general['eip']:08x}")
