"""How is boot code stepped and run to, where CS may have a base that gdb knows nothing of?

gdb takes EIP for the address. With another CS base, as in foreign boot loaders, it does not recognise its own
breakpoint: it reports SIGTRAP, and `continue` stops at the same instruction again and again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.gdb_ui import running
from bareflow_gdb.guest.boot.boot_code import CodePlace, code_place

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session


def here(session: Session) -> CodePlace:
    """Where the CPU is now; raises BareflowError."""
    session.refresh()
    return code_place(session.memory)


def user_breakpoints_at(address: int) -> list[gdb.Breakpoint]:
    """The user's enabled breakpoints whose code is at this linear address."""
    return [
        item
        for item in gdb.breakpoints()
        if item.enabled and any(location.address == address for location in item.locations or ())
    ]


def misread(place: CodePlace) -> list[gdb.Breakpoint]:
    """Breakpoints that the CPU stands at and that gdb does not recognise, because CS has a base."""
    return user_breakpoints_at(place.linear) if place.linear != place.eip else []


def explain(place: CodePlace, stuck: list[gdb.Breakpoint]) -> str:
    """One sentence for the user."""
    numbers = ", ".join(str(item.number) for item in stuck)
    return (
        f"CS has base 0x{place.base:x}, so gdb took breakpoint {numbers} at 0x{place.linear:x} for a SIGTRAP and "
        "cannot continue from it; stepped off"
    )


def step(place: CodePlace) -> str:
    """One instruction from `place`; returns what had to be said about a breakpoint there, "" for nothing."""
    stuck = misread(place)
    with _disabled(stuck):
        running.step_off()
    return explain(place, stuck) if stuck else ""


def run_to(session: Session, address: int) -> running.Stop | None:
    """Runs to a linear address, with a breakpoint that is gone on every way out; None when it was reached.

    Otherwise why the guest stopped instead. From a breakpoint that gdb does not recognise it steps off first.
    """
    place = here(session)
    if misread(place):
        session.say(step(place))
        if here(session).linear == address:
            return None
    with running.internal_breakpoint(address, hardware=True) as breakpoint:
        stop = running.resume()
    if breakpoint in stop.breakpoints or (stop.signal == "SIGTRAP" and here(session).linear == address):
        return None
    return stop


@contextlib.contextmanager
def _disabled(breakpoints: list[gdb.Breakpoint]) -> Iterator[None]:
    for item in breakpoints:
        item.enabled = False
    try:
        yield
    finally:
        for item in breakpoints:
            if item.is_valid():
                item.enabled = True
