"""Where is the guest, what is wrong, what is the next step? One screen.

Read budget: 10 packets at most: root, boot record, counters, exception, functions, pools, two ring headers,
mailbox header, mailbox slots; neighbours in the kernel's data come together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.plausible import WRITTEN_OVER, implausible
from bareflow_gdb.guest.base.reading import filled, many, optional
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.boot.boot import Boot, read_boot, rings_are_up
from bareflow_gdb.guest.code.being_published import Publishing, UnderWay
from bareflow_gdb.guest.code.events import read_ring
from bareflow_gdb.guest.code.functions import Function, read_functions
from bareflow_gdb.guest.code.mailbox import Mailbox, MailSlot, control_of, read_mailbox
from bareflow_gdb.guest.code.profiler import read_returned
from bareflow_gdb.guest.machine.exception import read_exception
from bareflow_gdb.guest.pools.pools import KINDS, is_torn_down
from bareflow_gdb.memory.protocol import Memory

T = TypeVar("T")


@dataclass(frozen=True)
class FunctionLine:
    """One function, as short as can be."""

    name: str
    level: int
    version: int | None = None
    """None = stock kernels do not keep it; the last result also of a function that has never returned."""
    last_result: int | None = None
    expected: int | None = None


@dataclass(frozen=True)
class PoolLine:
    """One pool, as short as can be."""

    kind: str
    used: int
    size: int
    torn_down: bool = False
    """The kernel has shut it down; the figures are those of before."""


@dataclass(frozen=True)
class RingLine:
    """One ring, as short as can be."""

    index: int
    mode: str
    events: int
    """Events ever written mod 2^32."""
    dropped: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """The guest on one screen. What has a default needs a root descriptor."""

    stage: str
    ok: bool
    """Nothing is wrong as far as was looked."""
    abi: str = ""
    """Version of the debug interface; "" = no root descriptor found."""
    variant: str = ""
    build_id: str = ""
    held: bool = False
    """The guest waits after registration for `hold` to become 0."""
    halted: bool | None = None
    """Has a stock kernel halted for good, at the stage that it came to? None = no registers tell, or of ours, whose
    stage says so."""
    thresholds: tuple[int, int, int] | None = None
    swap_count: int | None = None
    """None = no record of it is there, or none yet."""
    version_count: int | None = None
    counted_by: str = "guest"
    """Of what `swap_count` is: as in code/swaps.py."""
    functions: tuple[FunctionLine, ...] = ()
    publishing: tuple[Publishing, ...] = ()
    """The swaps that are being made: the pointer is stored, the records that tell of it are not."""
    under_way: tuple[UnderWay, ...] = ()
    """The swaps that are begun and not ended, by the guest's own word."""
    vetoed: tuple[str, ...] = ()
    """The functions that are not swapped."""
    pools: tuple[PoolLine, ...] = ()
    rings: tuple[RingLine, ...] = ()
    mail: tuple[str, ...] = ()
    """Conversations that are open, as "function: state"; "function: requested O1, overtaken" needs no answer."""
    model: str = ""
    """How it stands with the language model of the second disk; "" = there is no such disk, or this is not told."""
    exception: str = ""
    """Name of the last exception taken; "" = none."""
    exception_eip: Address = NOWHERE
    problems: tuple[str, ...]
    next_step: str
    findings: tuple[Finding, ...] = ()
    """What the checks found wrong; they are asked above, where more than memory can be looked at."""

    @property
    def came_to(self) -> str:
        """The stage, and whether the guest stands there."""
        return self.stage + (" (held)" if self.held else ", halted" if self.halted else "")


def _line(function: Function, returned: bool | None) -> FunctionLine:
    """The 0 in the table is no result of a function that has never returned."""
    last = None if returned is False and function.last_result == 0 else function.last_result
    return filled(FunctionLine, function, last_result=last)


def read_status(memory: Memory, root: Root | None) -> Status:
    """What is wrong or cannot be read becomes a problem in the answer, nothing is raised."""
    problems: list[str] = list(root.problems) if root else []
    boot = _boot(memory, root, problems)
    if root is None:
        return _without_root(boot, problems)
    odd = implausible(memory, root)
    if odd:
        problems.append(f"{WRITTEN_OVER}: {'; '.join(odd)}")
        stage = boot.stage if boot else "unknown"
        next_step = "`stack` shows whether the stack ran into them, `serial` what was printed last"
        return Status(
            stage=stage,
            ok=False,
            abi=root.abi,
            variant=root.variant,
            build_id=root.build_id,
            problems=tuple(problems),
            next_step=next_step,
        )
    parts = _Parts(memory, root, problems, booting=_is_booting(boot))
    exception, eip = parts.exception()
    functions = parts.functions()
    returned = parts.returned(functions, boot)
    swap_count, version_count = parts.counts
    if boot is not None and (boot.stage == "idle" or boot.done):
        problems += [
            f"{f.name} returned {f.last_result:,} last, {f.expected:,} is expected"
            for f in functions
            if f.last_result != f.expected and returned.get(f.profiler_id) is not False
        ]
    held = root.hold != 0 and boot is not None and boot.stage == "registered"
    box = parts.mailbox(functions)
    mail = _open_mail(box, functions)
    under_way, vetoed = control_of(box, functions)
    return filled(
        Status,
        root,
        stage=boot.stage if boot else "unknown",
        ok=not problems,
        held=held,
        swap_count=swap_count,
        version_count=version_count,
        functions=tuple(_line(function, returned.get(function.profiler_id)) for function in functions),
        pools=parts.pools(),
        rings=parts.rings(),
        mail=mail,
        under_way=under_way,
        vetoed=vetoed,
        model=boot.model if boot else "",
        exception=exception,
        exception_eip=eip,
        problems=tuple(problems),
        next_step=_next_step(boot, exception, eip, held, mail, problems)
        if problems or root.function_table
        else "`profile` shows its functions, `log` what it printed",
    )


def _boot(memory: Memory, root: Root | None, problems: list[str]) -> Boot | None:
    boot = optional(lambda: read_boot(memory, root), problems)
    problems += boot.problems if boot is not None else ()
    return boot


def _without_root(boot: Boot | None, problems: list[str]) -> Status:
    if boot is not None and boot.stage_number >= layouts.const("BF_STAGE_KERNEL"):
        problems.append("the kernel runs, but no root descriptor can be found")
    return Status(
        stage=boot.stage if boot else "unknown",
        ok=not problems and boot is not None,
        problems=tuple(problems),
        next_step="`boot` shows how far the boot got" if boot else "boot a disk image of this project",
    )


def _is_booting(boot: Boot | None) -> bool:
    return boot is not None and boot.stage_number < layouts.const("BF_STAGE_REGISTERED")


class _Parts:
    """The parts of a status, each of which may fail alone; while the kernel boots, not to be there is right."""

    def __init__(self, memory: Memory, root: Root, problems: list[str], booting: bool) -> None:
        self.memory = memory
        self.root = root
        self.problems = problems
        self.booting = booting
        self.counts: tuple[int, int] | tuple[None, None] = (None, None)

    def _tried(self, read: Callable[[], T]) -> T | None:
        return optional(read, [] if self.booting else self.problems)

    def exception(self) -> tuple[str, Address]:
        if not self.root.exception:
            return "", NOWHERE
        record = self._tried(lambda: read_exception(self.memory, self.root))
        if record is None or not record.count:
            return "", NOWHERE
        self.problems.append(f"the guest took {record.name} at 0x{record.registers.eip:08x}")
        return record.name, record.registers.eip

    def functions(self) -> list[Function]:
        if not self.root.function_table:
            return []
        counters = self._tried(lambda: read_counters(self.memory, self.root))
        if counters is None:
            return []
        self.counts = (counters.swap_count, counters.version_count)
        return self._tried(lambda: read_functions(self.memory, self.root, counters, self.problems)) or []

    def returned(self, functions: list[Function], boot: Boot | None) -> dict[int, bool]:
        """By profiler id, where it matters: no function has another result than the expected one after a whole run."""
        ids = [function.profiler_id for function in functions if function.last_result != function.expected]
        if boot is not None and boot.stage_number < layouts.const("BF_STAGE_RUNNING"):
            return dict.fromkeys(ids, False)
        return (self._tried(lambda: read_returned(self.memory, self.root, ids)) or {}) if ids else {}

    def pools(self) -> tuple[PoolLine, ...]:
        address = self.root.pools
        lines = (self._tried(lambda: read_pool_lines(self.memory, address)) or ()) if address else ()
        return lines if any(line.size for line in lines) or not self.booting else ()

    def rings(self) -> tuple[RingLine, ...]:
        if not rings_are_up(self.memory):
            return ()
        numbers = range(len(self.root.rings))
        found = [self._tried(lambda index=index: read_ring(self.memory, self.root, index)) for index in numbers]  # type: ignore[misc]
        return tuple(RingLine(ring.index, ring.mode, ring.head, ring.dropped) for ring in found if ring is not None)

    def mailbox(self, functions: list[Function]) -> Mailbox | None:
        return self._tried(lambda: read_mailbox(self.memory, self.root, functions)) if self.root.mailbox else None


def read_pool_lines(memory: Memory, address: int) -> tuple[PoolLine, ...]:
    """The three pools, whose records are at this address. Raises ReadError."""
    raws = many(memory, "memory_pool", address, len(KINDS), "pools")
    return tuple(
        PoolLine(kind, raw.stats.used, raw.total_size, is_torn_down(raw)) for kind, raw in zip(KINDS, raws, strict=True)
    )


def _open_mail(box: Mailbox | None, functions: list[Function]) -> tuple[str, ...]:
    slots = box.slots if box else ()
    return tuple(_mail(slot, functions[slot.index]) for slot in slots if slot.state != "idle")


def _mail(slot: MailSlot, function: Function) -> str:
    """A threshold's request stays open when the guest finds a tier as high itself; an answer would be refused."""
    overtaken = slot.requested_by == "threshold" and slot.level_wanted <= function.level
    return f"{slot.function}: {slot.state}" + (f" O{slot.level_wanted}, overtaken" if overtaken else "")


def _next_step(
    boot: Boot | None, exception: str, eip: int, held: bool, mail: tuple[str, ...], problems: list[str]
) -> str:
    if exception:
        return f"`exception` shows the registers, `identify 0x{eip:x}` what runs there, `log` the last output"
    if boot is not None and not boot.ok:
        return "`boot` shows how far the boot got"
    if problems:
        return "`boot`, `modules`, `pools` and `jit` show each part"
    if _is_booting(boot):
        return (
            "ask again: a kernel leaves this stage in a moment; one that stays there hangs or reboots in a loop "
            "(`serial` shows how often it booted, `run --paused` and `bf break-boot kernel` stop it early)"
        )
    if held:
        return "`release` lets the run begin"
    if any(line.endswith(": requested") for line in mail):
        return "`recompile` answers the request of the guest"
    return "`jit` shows the functions, `swaps` how they came to their tiers"
