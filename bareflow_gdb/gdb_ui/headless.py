"""What do the scripts of gdb_scripts/ share: arguments, the session, what they wait for, the exit status?

An argument is gdb's convenience variable `$bf_NAME`, else the environment's `BF_NAME`. A script that ends with
another status than 0 ends gdb with it when gdb runs without confirmations, as with -batch; else it is an error
of gdb's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import gdb_word, sentence
from bareflow_gdb.gdb_ui import running, stock_halt
from bareflow_gdb.gdb_ui.breakpoints import REGISTER
from bareflow_gdb.gdb_ui.command import REGISTRY
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import shown
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.gdb_ui.swap_words import Swapped, described
from bareflow_gdb.guest.base.find import ROOT_SYMBOL
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.stock.kernel import looks_stock
from bareflow_gdb.render.jsonable import dumps_answer

FINE, NO, COULD_NOT = 0, 1, 2


def run(main: Callable[[Session], int]) -> None:
    """Runs a script with the session of the connection; without one it attaches to `$bf_machine` first."""
    from bareflow_gdb.gdb_ui import plugin

    try:
        if gdb.selected_inferior().connection is None:
            gdb.execute(f"bf attach {gdb_word(argument('machine'))}")
        status = main(plugin.current())
        message = ""
    except KeyboardInterrupt:
        status, message = NO, "interrupted"
    except (BareflowError, gdb.error) as error:
        status, message = COULD_NOT, sentence(str(error))
    if message:
        gdb.write(shown(message) + "\n", gdb.STDERR)
    gdb.flush()
    if status and not running.attended():
        gdb.execute("set confirm off")
        gdb.execute(f"quit {status:d}")


def argument(name: str, default: str = "") -> str:
    """`$bf_NAME`, else the environment's BF_NAME, else the default."""
    value = gdb.convenience_variable(f"bf_{name}")
    if value is None:
        return os.environ.get(f"BF_{name.upper()}", default)
    try:
        return str(value.string())
    except gdb.error:
        return str(int(value))


def number(name: str, default: int) -> int:
    """The same as a number; raises UsageError."""
    text = argument(name, str(default))
    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"$bf_{name} is {text!r}, not a number") from None


def ask(session: Session, question: str, *words: str) -> tuple[str, str]:
    """What `bf QUESTION` answers: as text and as JSON. Raises BareflowError."""
    definition = REGISTRY[question]
    answer = definition.run(definition.parse(" ".join((*map(gdb_word, words), "--json"))), session)
    text = definition.show(answer.record) if definition.show is not None else ""
    return text, dumps_answer(answer)


@contextmanager
def end_of_run(session: Session) -> Iterator[list[gdb.Breakpoint]]:
    """What stops the guest when its run has ended or it has halted, whichever kernel it is."""
    reached = stage_of(session.memory)
    if reached == 0 and (looks_stock(session.memory) or symbol(ROOT_SYMBOL) is None):
        with stock_halt.end_of_run(session) as ends:
            yield ends
        return
    idle = layouts.const("BF_STAGE_IDLE")
    if reached >= idle:
        raise BareflowError(
            "the run has ended already; start the machine with --hold or --paused, and then this script"
        )
    stage = layouts.const("BF_BOOT_RECORD_ADDRESS") + layouts.offset("bf_boot_record", "stage")
    with running.internal_watchpoint(stage, f"*(unsigned int *) 0x{stage:x} >= {idle:d}") as watchpoint:
        yield [watchpoint]


def swaps(session: Session, function: str = "") -> Iterator[Swapped]:
    """Every swap from now to the end of the run; close it and nothing is left set.

    function: only of this one. Raises BareflowError when something else stops the guest.
    """
    with ExitStack() as stack:
        watch = _Watch(session, stack, function)
        ends = stack.enter_context(end_of_run(session))
        count = 0
        while True:
            stop = running.resume()
            session.refresh()
            if any(item in stop.breakpoints for item in ends):
                stock_halt.refuse_reset()
                return
            hits = [slot for item, slot in watch.at.items() if item in stop.breakpoints]
            if not hits and not watch.registered(stop):
                raise BareflowError(f"{stop} stopped the guest; what came until then is complete")
            for slot in hits[:1]:
                swapped = watch.swapped(count + 1, slot)
                # Now and then gdb stops a second time at a store, before it was made.
                if swapped.old != swapped.new:
                    count += 1
                    yield swapped


class _Watch:
    """The breakpoint on the publishing store; of kernels that inline it watchpoints on the code pointers there are."""

    def __init__(self, session: Session, stack: ExitStack, function: str) -> None:
        self._session, self._stack, self._function = session, stack, function
        self.at: dict[gdb.Breakpoint, int] = {}
        """The slot that each tells of, 0 = EDX has it."""
        self._slots: dict[str, int] = {}
        self._old: dict[int, int] = {}
        self._registering: dict[gdb.Breakpoint, int] = {}
        try:
            self._read_slots()
        except BareflowError:
            # Nothing is registered yet: that can be waited for where the function that does it has a name.
            register = symbol(REGISTER)
            if register is None or session.guest.found_by:
                raise
            self._registering[stack.enter_context(running.internal_breakpoint(register))] = register
            return
        if function:
            slot_of(session, function)
        try:
            store = publish_store(session)
        except BareflowError:
            self._watch_slots()
            return
        condition = f"$edx == {self._slots[function]:#x}" if function else None
        self.at[stack.enter_context(running.internal_breakpoint(store, condition))] = 0

    def _read_slots(self) -> None:
        self._slots = {name: int(slot) for name, slot in self._session.guest.kernel().slots().items()}
        self._old |= {
            slot: read_word(self._session.memory, slot, "published code pointer")
            for slot in self._slots.values()
            if slot not in self._old
        }

    def _watch_slots(self) -> None:
        watched = self.at.values()
        wanted = [slot for name, slot in self._slots.items() if self._function in ("", name) and slot not in watched]
        self.at |= {self._stack.enter_context(running.internal_watchpoint(slot)): slot for slot in wanted}

    def registered(self, stop: running.Stop) -> bool:
        """Did a function's registration stop the guest? At its return the new code pointer is watched."""
        hit = [item for item in self._registering if item in stop.breakpoints]
        if hit and running.read_register("eip") == self._registering[hit[0]] == symbol(REGISTER):
            back = read_word(self._session.memory, running.read_register("esp"), "return address")
            self._registering[self._stack.enter_context(running.internal_breakpoint(back))] = back
        elif hit:
            self._registering.pop(hit[0])
            hit[0].delete()
            self._session.guest.places.begin()
            self._read_slots()
            self._watch_slots()
        return bool(hit)

    def swapped(self, number: int, slot: int) -> Swapped:
        """What the store at this stop changes, or has changed."""
        published = bool(slot)
        if slot:
            new = read_word(self._session.memory, slot, "published code pointer")
        else:
            slot, new = running.read_register("edx"), running.read_register("eax")
        before = self._old.get(slot, 0)
        self._old[slot] = new
        return described(self._session, number, slot, before, new, published=published)
