"""`bf find`: where the records of the kernel are, how they were found, and how sure that is."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BadData, BareflowError, ReadError, UsageError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.base.answer import Located
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.questions.question import argument

if TYPE_CHECKING:
    import gdb

CAUGHT_AT = ("module_load", "fat16_init", "adaptive_jit_register_function", "jit_profile_begin")
"""One function for each kind of record, entered when the record has been initialised or is about to be."""


@dataclass(frozen=True)
class Caught:
    """A function's first argument at its entry."""

    function: str
    what: str
    argument: Address


@dataclass(frozen=True)
class Missing:
    """A record that is not there (yet)."""

    what: str
    why: str


@dataclass(frozen=True)
class Places:
    """What was found, what was not, and what was caught for that."""

    records: tuple[Located, ...]
    missing: tuple[Missing, ...]
    caught: tuple[Caught, ...]
    not_entered: tuple[str, ...]
    """Those that were still waited for when something else stopped the guest."""
    stopped_by: str
    """What that was."""
    goes_on: bool


@command(
    "find",
    needs=Session.require,
    example="bf find --at-entry",
    arguments=(
        argument("--at-entry", action="store_true", help="let the guest run and catch the records as arguments"),
        argument("--of", metavar="RECORD", help="with --at-entry: wait for this record only, as `bf find` names it"),
        argument("--go-on", action="store_true", help="with --at-entry: let the guest run on afterwards"),
    ),
    show=lambda record: _text(record),
)
def find(options: argparse.Namespace, session: Session) -> Places:
    """Show where the kernel's records are, how each was found, and how sure that is.

    A kernel without a root descriptor is asked by symbols, by arguments caught before, and by a search of its
    memory. --at-entry lets the guest run until each function that gets such a record has been entered once, and
    takes the record's address from the stack; gdb needs the kernel's ELF for that. The breakpoints are internal
    and removed on every way out; Ctrl-C ends the waiting with what was caught until then. Kernels do their work in
    different orders: --of stops the guest at the first function that gets that record.
    """
    if options.of and not options.at_entry:
        raise UsageError("--of is for --at-entry: without it every record is shown")
    if options.go_on and not options.at_entry:
        raise UsageError("--go-on is for --at-entry: nothing else lets the guest run")
    caught, not_entered, stopped_by = _catch(session, options.of) if options.at_entry else ((), (), "")
    records, missing = _look(session)
    if options.go_on:
        session.go_on()
    return Places(records, missing, caught, not_entered, stopped_by, goes_on=options.go_on)


def _look(session: Session) -> tuple[tuple[Located, ...], tuple[Missing, ...]]:
    from bareflow_gdb.guest.stock.search import KINDS

    guest = session.guest
    # The registers of this stop, not of the one before.
    guest.places.begin()
    if guest.found_by:
        root, evidence = Address(guest.root().address), "it leads to every other record"
        return (Located("root descriptor", root, guest.found_by, "certain", evidence),), ()
    records, missing = [], []
    for kind in KINDS:
        try:
            records.append(guest.places.find(kind))
        except (BadData, ReadError) as error:
            missing.append(Missing(kind, str(error)))
    return tuple(records), tuple(missing)


def _catch(session: Session, kind: str | None) -> tuple[tuple[Caught, ...], tuple[str, ...], str]:
    """Runs until each function was entered, or something else stops the guest: which were, which not, what did."""
    session.require_stopped()
    from bareflow_gdb.guest.stock.places import ARGUMENTS

    functions = {name: at for name, at in _functions(session).items() if kind in (None, ARGUMENTS[name])}
    if not functions:
        raise UsageError(f"gdb knows no function that is given a record {kind!r}; `bf find` names them")
    caught: list[Caught] = []
    session.say(f"waiting for {', '.join(functions)} …")
    with _breakpoints(functions) as waiting:
        # Where the guest is stopped now: `continue` would pass a breakpoint there.
        eip = running.read_register("eip")
        caught += _take(session, [name for name, address in functions.items() if address == eip], waiting)
        while waiting:
            stop = running.resume()
            session.refresh()
            # Asked for now: breakpoints that are deleted below have no number any more.
            why = str(stop)
            others = [one for one in stop.breakpoints if one not in waiting.values()]
            hit = [name for name, one in waiting.items() if one in stop.breakpoints]
            caught += _take(session, hit, waiting)
            if waiting and (others or not hit):
                if not caught:
                    raise BareflowError(
                        f"none of {', '.join(waiting)} was entered: {why} stopped the guest first; nothing of this "
                        "command is left set"
                    )
                return tuple(caught), tuple(waiting), why
    return tuple(caught), (), ""


def _functions(session: Session) -> dict[str, int]:
    """Where the functions are by the ELF that gdb has; raises BareflowError when that helps nothing."""
    from bareflow_gdb.guest.base.find import ROOT_SYMBOL

    # Functions of the same names take other arguments there.
    if session.guest.found_by or symbol(ROOT_SYMBOL) is not None:
        raise UsageError("this kernel has a root descriptor, so there is nothing to catch; ask `bf find`")
    known = {name: symbol(name) for name in CAUGHT_AT}
    functions = {name: address for name, address in known.items() if address is not None}
    if not functions:
        raise UsageError(
            f"gdb knows none of {', '.join(CAUGHT_AT)}: load the kernel's ELF that has symbols with `file`, or ask "
            "`bf find`, which searches"
        )
    return functions


@contextlib.contextmanager
def _breakpoints(functions: dict[str, int]) -> Iterator[dict[str, gdb.Breakpoint]]:
    """A breakpoint at each function, all of them gone on every way out; who is done with one takes it out."""
    with contextlib.ExitStack() as stack:
        # Of the hardware kind: the kernel may still have to be loaded.
        yield {
            name: stack.enter_context(running.internal_breakpoint(address, hardware=True))
            for name, address in functions.items()
        }


def _take(session: Session, entered: list[str], waiting: dict[str, gdb.Breakpoint]) -> list[Caught]:
    """At the entry of these functions: reads the argument from the stack, tells it, and waits for them no more."""
    from bareflow_gdb.guest.stock.places import ARGUMENTS

    caught = []
    for name in entered:
        value = read_word(session.memory, running.read_register("esp") + 4, f"first argument of {name}")
        session.guest.places.tell([(name, value)])
        caught.append(Caught(name, ARGUMENTS[name], Address(value)))
        waiting.pop(name).delete()
    return caught


def _text(record: Places) -> str:
    lines = [f"{item.function} was entered with 0x{item.argument:08x} ({item.what})" for item in record.caught]
    if record.not_entered:
        lines.append(f"not entered: {', '.join(record.not_entered)}; {record.stopped_by} stopped the guest first")
    rows = [(item.what, f"0x{item.address:08x}", item.how, item.confidence, item.evidence) for item in record.records]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines += ["  ".join((*(f"{row[i]:<{widths[i]}}" for i in range(4)), row[4])) for row in rows]
    lines += [f"{item.what}: {item.why}" for item in record.missing]
    if record.caught and not record.goes_on:
        lines.append("the guest remains stopped")
    return "\n".join(lines)
