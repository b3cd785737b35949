"""Is new code verified before the guest gets it? What it is compared with, and what follows from what came of it.

The worker runs the code that is published and the new one over one copy of guest memory. See recompile/verify/.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.events import read_last
from bareflow_gdb.guest.code.functions import Function, find_version
from bareflow_gdb.guest.code.outcome import Verification
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import machine_code
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.link import Linked, Room
from bareflow_gdb.recompile.refusal import Differs
from bareflow_gdb.recompile.verify import inputs
from bareflow_gdb.recompile.verify.trial import Code, Span, Trial, Verdict

EVENTS = 4096
"""The last ones of the ring, among which calls are looked for."""
_LARGEST = 64 << 10
"""Bytes of a published version that are believed."""
_MOST_SYMBOLS = 256
X87 = (
    "it has x87 code, whose results are not compared: the host's emulator computes them in another precision; "
    "what its caller relies on was checked with {} inputs"
)


@dataclass(frozen=True)
class Plan:
    """A trial that has begun: what its verdict will mean."""

    against: str
    """The published version, as `primes@O2 #12`."""
    seen: int
    """Inputs that the guest's calls had."""
    x87: bool
    edited: bool
    """The new code was made from other source: it is meant to differ."""


def begin(
    compiler: Compiler,
    memory: Memory,
    root: Root,
    function: Function,
    linked: Linked,
    room: Room,
    shared: list[GuestSymbol],
    *,
    edited: bool,
) -> Plan | Verification:
    """Begins a trial; a Verification says at once why there can be none. Raises ReadError, OSError."""
    if memory.packets or compiler.snapshot is None:
        return _not_verified("guest memory comes by packets, and all of it would take too long")
    at = root.function_table + function.index * layouts.size("bf_function")
    record = one(memory, "bf_function", at, "function record")
    version = find_version(memory, root, record.version)
    entry = int.from_bytes(memory.read(record.slot, 4, "published code pointer"), "little")
    if version is None or not version.code <= entry < version.code + min(version.code_size, _LARGEST):
        return _not_verified("the code that is published is none of the versions that the kernel keeps")
    against = code_name(function.name, version.level, version.number)
    old = memory.read(version.code, min(version.code_size, _LARGEST), "published code")
    used = machine_code.uses(old) | machine_code.uses(linked.code)
    if "clock" in used:
        return _not_verified("it reads the CPU's clock, which never says the same twice", against)
    usual = (int(record.arguments[0]), int(record.arguments[1]))
    pairs, own = inputs.choose(usual, _seen(memory, root, function.index), function.name)
    trial = Trial(
        old=Code(entry, (_span(version.code, version.code_size), _span(version.rodata, version.rodata_size))),
        new=Code(
            room.code + linked.entry_offset,
            (_span(room.code, len(linked.code)), _span(room.rodata, len(linked.rodata))),
        ),
        code_size=len(linked.code),
        code_address=room.code,
        rodata_address=room.rodata,
        ranges=compiler.snapshot.take(memory),
        inputs=pairs,
        required=own,
        results_count=not (edited or "x87" in used),
        symbols=tuple((item.name, int(item.address), item.size) for item in shared[:_MOST_SYMBOLS]),
    )
    compiler.begin_trial(trial, linked.code + linked.rodata)
    return Plan(against, own - 1, "x87" in used, edited)


def conclude(plan: Plan, verdict: Verdict) -> Verification:
    """What the verdict means; raises Differs when the guest must not get the new code."""
    if verdict.difference and (verdict.breaks_caller or not (plan.edited or plan.x87)):
        raise Differs(
            f"the new code differs from {plan.against}: {verdict.difference}; the guest keeps the code that it has "
            "(--no-verify hands over what differs)"
        )
    state, reason = "agrees", verdict.difference
    if not verdict.compared:
        state, reason = "not verified", verdict.not_run or "no input was tried"
    elif plan.x87:
        state, reason = "not verified", X87.format(verdict.compared)
    elif verdict.difference:
        state = "differs"
    return Verification(
        state, plan.against, verdict.compared, min(plan.seen, verdict.compared), reason, verdict.milliseconds
    )


def _not_verified(reason: str, against: str = "") -> Verification:
    return Verification("not verified", against, 0, 0, reason, None)


def _seen(memory: Memory, root: Root, function: int) -> list[inputs.Pair]:
    """The arguments of the last calls in the ring, the newest first; none when the ring does not say."""
    try:
        events = read_last(memory, root, 0, EVENTS, frozenset({"call"}))
    except BareflowError:
        return []
    fields = [event.fields() for event in reversed(events) if event.id == function]
    return [(item["a"], item["b"]) for item in fields]


def _span(address: int, size: int) -> Span:
    return address, address + size
