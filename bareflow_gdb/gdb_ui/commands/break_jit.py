"""`bf break`: a breakpoint by JIT name, that follows the function across swaps."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import gdb

from bareflow_gdb.foreign import gdb_name, switch
from bareflow_gdb.gdb_ui.breakpoints import jit_location
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.completers import JIT_CODE
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import argument


@dataclass(frozen=True)
class Follows:
    """A breakpoint that was set."""

    number: int
    name: str
    pending: bool
    warning: str


@command(
    "break",
    needs=Session.require_stopped,
    example="bf break jit:primes@O3",
    arguments=(
        argument("place", metavar="jit:FUNCTION[@TIER]", names=JIT_CODE, help="whose code, of which tier"),
        argument("--temporary", action="store_true", help="delete it when it is reached, as tbreak does"),
    ),
    show=lambda record: _text(record),
)
def break_jit(options: argparse.Namespace, session: Session) -> Follows:
    """Stop in the code of a JIT function, whatever version runs by then.

    The breakpoint is an ordinary one of gdb: `info breakpoints`, `condition`, `disable`, `delete`, and it may
    be set before the function is registered or the tier is made. The suite moves it at each swap, with an
    internal breakpoint on the publishing store that goes when the last such breakpoint is deleted.
    """
    name = jit_location(options.place)
    session.update_symbols()
    breakpoint = _break(name, temporary=options.temporary)
    try:
        warning = session.followers.arm(session)
    except BaseException:
        breakpoint.delete()
        session.followers.arm(session)
        raise
    return Follows(breakpoint.number, name, bool(breakpoint.pending), warning)


def _break(function: str, *, temporary: bool) -> gdb.Breakpoint:
    """Sets it, pending or not. Not by gdb.Breakpoint, which prints an error where there is none: "not defined"."""
    before = gdb.parameter("breakpoint pending")
    gdb.execute("set breakpoint pending on", to_string=True)
    try:
        command = "tbreak" if temporary else "break"
        gdb.execute(f"{command} -function {gdb_name(function)}", to_string=True)
    finally:
        word = "auto" if before is None else switch(before)
        gdb.execute(f"set breakpoint pending {word}", to_string=True)
    return max(gdb.breakpoints(), key=lambda item: item.number)


def _text(record: Follows) -> str:
    state = "pending until that code is published" if record.pending else "set"
    text = f"breakpoint {record.number} follows {record.name}: {state}"
    return f"{text}\n{record.warning}" if record.warning else text
