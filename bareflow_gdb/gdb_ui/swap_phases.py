"""How is the guest stopped at a phase of a swap, and what is there to see in it?

The kernel calls `bareflow_hook_phase` at each change while its bit of the hook mask is set. It is set only while the
guest is waited for. The phase before the store ends at the store itself, so that it can be stepped across.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.code_listing import Side, listing
from bareflow_gdb.gdb_ui.slots import exported, publish_store, slot_of
from bareflow_gdb.guest.base.reading import filled, read_word
from bareflow_gdb.guest.base.values import Address, code_name, word

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.base.root import Root
    from bareflow_gdb.guest.code.functions import Version
    from bareflow_gdb.guest.code.jit import JitFunction

HOOK = "bareflow_hook_phase"
ABOUT = "about_to_publish"
PHASES = ("requested", "compiled", "copied", "about_to_publish", "published", "old_version_retired", "first_call")
"""The contract's phases from 1 on. Its header is not read for the words of a command, when gdb loads the suite."""
MOST_CALLERS = 6


@dataclass(frozen=True)
class Code:
    """One version of the function, with its block in the CODE pool."""

    version: int
    level: int
    state: str
    code: Address
    code_size: int


@dataclass(frozen=True, kw_only=True)
class PhaseStop:
    """The guest at one phase of a swap."""

    function: str
    phase: str
    """"none" = the swap came to nothing."""
    level: int
    """That the swap leads to."""
    refusal: str
    """Why it came to nothing, as a word of enum bf_reason."""
    slot: Address
    pointer: Address
    """What the code pointer holds."""
    runs: str
    """The version that this is."""
    mailbox: str
    control: str
    versions: tuple[Code, ...]
    """Those that have code, or are getting it."""
    listing: tuple[str, ...]
    executing: tuple[str, ...]
    """Who is on the stack, the innermost first."""


def stop_at_phase(session: Session, function: str | None, phase: str | None) -> tuple[int, int, int]:
    """Lets the guest run to this phase, None = the next change of any; function index, phase and level.

    Raises BareflowError when something else stops it first, or the kernel tells no phases.
    """
    root = session.guest.kernel().need_interface("it tells no phases; `bf break-swap` stops after each swap")
    try:
        hook = exported(session, HOOK)
    except BareflowError:
        raise UsageError(
            f"this kernel's debug interface is {root.abi}, phases are told since 1.3; plain `bf step-swap` works"
        ) from None
    (first, last), (least, most) = _numbers(session, function, phase)
    # At its first instruction the hook's arguments are above the return address.
    of_function = "*(unsigned int *) ($esp + 4)"
    at_phase = "*(unsigned int *) ($esp + 8)"
    whose = f"{of_function} >= {first:d} && {of_function} <= {last:d}"
    condition = f"{whose} && {at_phase} >= {least:d} && {at_phase} <= {most:d}"
    with _told(session, root), running.internal_breakpoint(hook, condition) as breakpoint:
        stop = running.resume()
        if breakpoint not in stop.breakpoints:
            raise BareflowError(f"no such phase came: {stop} stopped the guest first; nothing of this command is set")
        session.refresh()
        esp = running.read_register("esp")
        said = struct.unpack("<III", session.memory.read(esp + 4, 12, "arguments of the hook"))
    if word("bf_swap_phase", said[1]) == ABOUT:
        _go_to_store(session)
    else:
        running.enter_frame(session.memory)
    session.refresh()
    return said[0], said[1], said[2]


def _numbers(session: Session, function: str | None, phase: str | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first and the last index of a function, and the same of phases."""
    indices, phases = (0, layouts.const("BF_MAX_FUNCTIONS")), (0, len(PHASES))
    if function is not None:
        slot = slot_of(session, function)
        index = list(session.guest.kernel().slots().values()).index(Address(slot))
        indices = (index, index)
    if phase is not None:
        number = layouts.const(f"BF_PHASE_{phase.upper()}")
        phases = (number, number)
    return indices, phases


@contextlib.contextmanager
def _told(session: Session, root: Root) -> Iterator[None]:
    """The hook is called in the block."""
    at = root.address + layouts.offset("bf_root", "hook_mask")
    before = read_word(session.memory, at, "hook mask")
    _write(session, at, before | layouts.const("BF_HOOK_PHASE"))
    try:
        yield
    finally:
        # A guest that is gone has no mask to put back.
        with contextlib.suppress(BareflowError):
            _write(session, at, before)


def _write(session: Session, at: int, mask: int) -> None:
    session.memory.write(at, struct.pack("<I", mask), "hook mask")


def _go_to_store(session: Session) -> None:
    with running.internal_breakpoint(publish_store(session)) as store:
        stop = running.resume()
    if store not in stop.breakpoints:
        raise BareflowError(f"{stop} stopped the guest on its way to the publishing store")


def described(session: Session, index: int, phase: int, level: int, *, lines: int) -> PhaseStop:
    """What is there to see at this stop."""
    kernel = session.guest.kernel()
    functions = kernel.jit(every=True).functions
    name = word("bf_swap_phase", phase)
    if index >= len(functions) or name not in ("none", *PHASES):
        raise BareflowError(f"the guest tells of phase {phase} of function {index}; it has {len(functions)} functions")
    function = functions[index]
    pointer = read_word(session.memory, function.slot, "published code pointer")
    old = _entered(function, pointer)
    new = _new(function, level)
    both = name in ("copied", ABOUT) and old is not None and new is not None and old is not new
    slots = kernel.mailbox().slots
    return PhaseStop(
        function=function.name,
        phase=name,
        level=level,
        refusal=slots[index].refusal if index < len(slots) else "none",
        slot=function.slot,
        pointer=Address(pointer),
        runs="no version" if old is None else old.title,
        mailbox=function.mail_state,
        control=function.control,
        versions=tuple(
            Code(one.number, one.level, one.state, one.code, one.code_size)
            for one in function.versions
            if one.state not in ("none", "freed")
        ),
        listing=listing(session, function.name, _side(old), _side(new), most=lines) if both else (),
        executing=tuple(frame.place.text for frame in kernel.stack().frames[:MOST_CALLERS]),
    )


def _side(version: Version | None) -> Side | None:
    return None if version is None else filled(Side, version, version=version.number)


def _entered(function: JitFunction, entry: int) -> Version | None:
    found = [one for one in function.versions if one.entry == entry and one.state not in ("none", "freed")]
    return max(found, key=lambda one: one.number, default=None)


def _new(function: JitFunction, level: int) -> Version | None:
    """The version that waits to be published."""
    found = [one for one in function.versions if one.level == level and one.state == "emitted"]
    return max(found, key=lambda one: one.number, default=None)


def text(stop: PhaseStop) -> str:
    """A screen about the phase."""
    title = code_name(stop.function, stop.level)
    if stop.phase == "none":
        why = stop.refusal.replace("_", " ")
        return f"{title}: the swap came to nothing ({why}); {stop.runs} runs"
    number = PHASES.index(stop.phase) + 1
    lines = [f"{title}: {stop.phase.replace('_', ' ')} (phase {number} of {len(PHASES)})"]
    lines.append(f"  code pointer  *0x{stop.slot:08x} = 0x{stop.pointer:08x}, {stop.runs}")
    lines += [
        f"  version #{one.version:<5} O{one.level} {one.state:<9}  "
        + (f"{one.code_size:,} bytes at 0x{one.code:08x}" if one.code and one.code_size else "no code yet")
        for one in stop.versions
    ]
    lines.append(f"  mailbox       {stop.mailbox.replace('_', ' ')}, control {stop.control}")
    lines.append(f"  executing     {' <- '.join(stop.executing) or 'unknown'}")
    lines += [f"  {line}" for line in stop.listing]
    lines.append("the guest remains stopped")
    return "\n".join(lines)
