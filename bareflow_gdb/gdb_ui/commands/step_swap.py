"""`bf step-swap`: stop before the atomic store that publishes new code and step across it, or stop at a phase."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import running, swap_phases
from bareflow_gdb.gdb_ui.code_listing import Side, listing
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.gdb_ui.swap_phases import PhaseStop
from bareflow_gdb.gdb_ui.swap_words import Swapped, described, words
from bareflow_gdb.guest.base.reading import filled, read_word
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.questions.question import FUNCTIONS, argument

LINES = 40
POINTER = "published code pointer"
PHASES = tuple(phase.replace("_", "-") for phase in swap_phases.PHASES)


@dataclass(frozen=True)
class SwapStep:
    """One publishing store, seen from both sides."""

    function: str
    swap: Swapped
    """What is swapped, with call and reason, as it was told before the store."""
    slot: Address
    store: Address
    instruction: str
    before: Address
    after: Address
    old: Side | None
    new: Side | None
    listing: tuple[str, ...]
    eip_before: Address
    eip_after: Address
    goes_on: bool


@command(
    "step-swap",
    needs=Session.require_stopped,
    example="bf step-swap primes --stay",
    arguments=(
        argument("function", nargs="?", metavar="FUNCTION", names=FUNCTIONS, help="its swap, others pass"),
        argument("--stay", action="store_true", help="remain stopped after the store"),
        argument("--next", action="store_true", help="remain stopped at the next phase of a swap, whichever it is"),
        argument("--phase", choices=PHASES, help="remain stopped at this phase"),
        argument("--lines", type=int, default=LINES, help=f"lines of code at most, 0 = all (default {LINES})"),
    ),
    show=lambda step: _text(step),
)
def step_swap(options: argparse.Namespace, session: Session) -> SwapStep | PhaseStop:
    """Stop before the next atomic swap, show old and new code, step across the store, and go on.

    The guest runs until it is about to store a new code pointer; then one instruction is stepped and the
    pointer is shown before and after. Afterwards the guest goes on, as by `continue` where this was typed (Ctrl-C
    stops it), else in the background (`interrupt` stops it), or remains stopped with --stay. The breakpoint is
    internal and removed on every way out, also by Ctrl-C.
    With --next or --phase the guest runs to a phase of a swap and remains stopped there: requested, compiled, copied,
    about to publish, published, old version retired, first call. Code pointer, versions, their blocks, the stack and,
    before the store, both codes are shown.
    """
    if options.next or options.phase is not None:
        return _at_phase(options, session)
    session.guest.kernel().need_interface(
        "its publishing store is inlined, so there is no one place before it; `bf break-swap` stops after each swap"
    )
    store = publish_store(session)
    condition = None if options.function is None else f"$edx == {slot_of(session, options.function):#x}"
    session.say(f"waiting for {'a swap' if condition is None else f'a swap of {options.function}'} …")
    with running.internal_breakpoint(store, condition) as breakpoint:
        stop = running.resume()
    if breakpoint not in stop.breakpoints:
        raise BareflowError(f"no swap came: {stop} stopped the guest first; nothing of this command is left set")
    session.refresh()
    step = _across(session, store, stay=options.stay, lines=options.lines)
    if step.goes_on:
        session.go_on()
    return step


def _at_phase(options: argparse.Namespace, session: Session) -> PhaseStop:
    if options.next and options.phase is not None:
        raise UsageError("--next is whichever phase comes: give it, or --phase")
    phase = None if options.phase is None else options.phase.replace("-", "_")
    session.say(f"waiting for {f'phase {options.phase}' if phase else 'a phase'} of a swap …")
    index, number, level = swap_phases.stop_at_phase(session, options.function, phase)
    if session.followers.needed():
        session.update_symbols()
    return swap_phases.described(session, index, number, level, lines=options.lines)


def _across(session: Session, store: int, *, stay: bool, lines: int) -> SwapStep:
    from bareflow_gdb.guest.code import code_diff

    slot, entry = running.read_register("edx"), running.read_register("eax")
    eip_before = running.read_register("eip")
    jit = session.guest.kernel().jit()
    before = read_word(session.memory, slot, POINTER)
    swap = described(session, 0, slot, before, entry, published=False)
    name = swap.function
    versions = [v for function in jit.functions for v in function.versions if v.state not in ("freed", "none")]
    # The newest of those at one place counts.
    sides = {int(v.entry): filled(Side, v, version=v.number) for v in sorted(versions, key=lambda v: v.number)}
    old, new = sides.get(before), sides.get(entry)
    code = session.memory.read(store, 16, "publishing store")
    instruction = code_diff.disassemble(code, store)[0].text
    rows = listing(session, name, old, new, most=lines)
    running.step_off()
    session.refresh()
    return SwapStep(
        function=name,
        swap=swap,
        slot=Address(slot),
        store=Address(store),
        instruction=instruction,
        before=Address(before),
        after=Address(read_word(session.memory, slot, POINTER)),
        old=old,
        new=new,
        listing=rows,
        eip_before=Address(eip_before),
        eip_after=Address(running.read_register("eip")),
        goes_on=not stay,
    )


def _text(step: SwapStep | PhaseStop) -> str:
    if isinstance(step, PhaseStop):
        return swap_phases.text(step)
    lines = [f"{step.function}: stopped before the publishing store", words(step.swap)]
    lines += [
        *(f"  {line}" for line in step.listing),
        f"before the store  eip 0x{step.eip_before:08x}   *0x{step.slot:08x} = 0x{step.before:08x}",
        f"  {step.instruction}",
        f"after the store   eip 0x{step.eip_after:08x}   *0x{step.slot:08x} = 0x{step.after:08x}",
    ]
    if step.after == step.swap.new:
        lines.append(words(replace(step.swap, published=True)))
    else:
        lines.append(f"the store had no effect: 0x{step.swap.new:08x} is not in the code pointer")
    if not step.goes_on:
        lines.append("the guest remains stopped")
    return "\n".join(lines)
