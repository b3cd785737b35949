"""`bf disas`: annotated disassembly of a JIT function by tier, of any address, or the difference of two tiers."""

from __future__ import annotations

import argparse
from typing import Any

import gdb

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui import show
from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.functions import level_of
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.guest_names import function_names
from bareflow_gdb.gdb_ui.session import Session

TIERS = ("O0", "O1", "O2", "O3")


@command(
    "disas",
    example="bf disas primes --diff O1 O3",
    arguments=(
        argument(
            "place",
            metavar="FUNCTION|ADDRESS",
            complete=function_names,
            help="JIT function, or an expression",
        ),
        argument("--tier", choices=TIERS, help="the code of this tier (default: what runs now)"),
        argument("--diff", nargs=2, choices=TIERS, metavar="TIER", help="two tiers side by side, aligned"),
        argument("--bits", type=int, choices=(16, 32), help="how to decode (default: by CR0.PE)"),
        argument("--bytes", type=int, metavar="N", help="of an address: how much (default 64)"),
    ),
    show=lambda record: _text(record),
)
@only_with_guest
def disas(options: argparse.Namespace, session: Session) -> Any:
    """Disassemble a JIT function, by tier, or the code at an address, with the names of what it uses.

    Calls of exported functions, code pointers, shared data and other JIT code are named, and whatever the ELF
    that gdb has knows. In real mode code is decoded as 16-bit code, which gdb 13 itself does not do.
    """
    from bareflow_gdb.guest import disas as guest_disas

    guest = session.guest
    if options.diff:
        old, new = (level_of(tier) for tier in options.diff)
        return guest_disas.compare(guest, options.place, old, new, _symbol)
    level = level_of(options.tier) if options.tier else None
    names = set(guest_names(session))
    place = _place(options.place, names)
    # JIT code is 32-bit code; asking for the mode may cost packets.
    bits = options.bits or (32 if place in names else _bits(session))
    return guest_disas.disassemble(guest, place, level, bits, options.bytes, _symbol)


def guest_names(session: Session) -> list[str]:
    """The JIT functions; none before the kernel is up."""
    from bareflow_gdb.errors import BareflowError

    try:
        return list(function_names(session))
    except BareflowError:
        return []


def _place(text: str, names: set[str]) -> str:
    """The name of a function, or the value of any expression of gdb."""
    if text in names:
        return text
    try:
        return hex(int(gdb.parse_and_eval(f"(unsigned long) ({text})")) & 0xFFFFFFFF)
    except gdb.error as error:
        known = ", ".join(sorted(names)) or "none yet"
        raise UsageError(f"{text!r} is no JIT function ({known}) and no address: {error}") from error


def _bits(session: Session) -> int:
    """By CR0.PE of the stopped guest; 32 when it runs or has no registers that say so."""
    if session.running:
        return 32
    try:
        return 32 if int(gdb.newest_frame().read_register("cr0")) & 1 else 16
    except (gdb.error, ValueError):
        return 32


def _symbol(address: int) -> str:
    """What gdb's own symbols call an address: `adaptive_jit_call+12`."""
    text = str(gdb.Value(address).cast(gdb.lookup_type("void").pointer()).format_string(symbols=True))
    start, end = text.find("<"), text.rfind(">")
    return text[start + 1 : end] if start >= 0 else ""


def _text(record: Any) -> str:
    from bareflow_gdb.guest.disas import Difference
    from bareflow_gdb.render import disas as render

    draw: Any = render.difference if isinstance(record, Difference) else render.listing
    return str(draw(record, width=show.width(), color=show.colored()))
