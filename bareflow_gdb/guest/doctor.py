"""Which of the suite's parts can work on this guest, which cannot, why, and what to do?"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.kernel import Kernel
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
        *(_own(guest, kernel, kernel.root) if kernel.root is not None else _without_root(guest)),
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
        checks += [
            attempt("modules", lambda: _counted("modules", kernel.modules().modules)),
            attempt("pools", lambda: _counted("pools", kernel.pools().pools)),
            attempt("jit", lambda: _counted("jit", kernel.jit().functions)),
            attempt("mailbox", lambda: _counted("mailbox", kernel.mailbox().slots)),
        ]
    return checks


def _memory(memory: Memory) -> Check:
    memory.read(0, 1024, "interrupt vectors")
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


def _without_root(guest: Guest) -> list[Check]:
    """A stock kernel, found by other ways, or none yet."""
    try:
        modules = guest.answer(lambda kernel: kernel.modules())
    except BareflowError as reason:
        text, _, advice = str(reason).partition(": ")
        return [
            Check("root descriptor", LIMITED, text, advice),
            Check("tables", LIMITED, "nothing to read tables from yet", "ask again when the kernel has started"),
        ]
    size = guest.places.generation().profile_bytes
    checks = [
        Check(
            "root descriptor",
            LIMITED,
            "a stock kernel, without debug interface",
            "versions, events and the mailbox need the debug interface",
        ),
        Check("layout", WORKS, f"module records of {size} bytes, recognised from the data"),
        Check("modules", WORKS, f"{len(modules.record.modules)}; {_how(modules)}"),
        attempt("pools", lambda: _found(guest, "pools", lambda kernel: kernel.pools())),
        attempt("jit", lambda: _found(guest, "jit", lambda kernel: kernel.jit())),
        attempt("profile", lambda: _found(guest, "profile", lambda kernel: kernel.profile())),
    ]
    if modules.unknown:
        checks.append(Check("not known", LIMITED, "; ".join(modules.unknown)))
    return checks


def _found(guest: Guest, part: str, question: Callable[[Kernel], object]) -> Check:
    return Check(part, WORKS, _how(guest.answer(question)) or "found")


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
