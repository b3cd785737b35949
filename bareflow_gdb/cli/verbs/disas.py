"""`bareflow disas`: annotated disassembly of a JIT function by tier, of an address, or of two tiers."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "disassembly of a JIT function or an address, with names; two tiers side by side"
TIERS = ("O0", "O1", "O2", "O3")


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    parser.add_argument("place", metavar="FUNCTION|ADDRESS", help="a JIT function's name, or 0x…")
    parser.add_argument("--tier", choices=TIERS, help="the code of this tier (default: what runs now)")
    parser.add_argument(
        "--diff", nargs=2, choices=TIERS, metavar=("OLD", "NEW"), help="two tiers side by side, aligned"
    )
    parser.add_argument("--bits", type=int, choices=(16, 32), default=32, help="16 for real-mode code")
    parser.add_argument("--bytes", type=int, metavar="N", help="of an address: how much (default 64)")
    add_target(parser)


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.guest import disas
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.render import disas as render

    if options.diff:
        old, new = (int(tier[1]) for tier in options.diff)
        return ask(options, lambda guest: disas.compare(guest, options.place, old, new), render.difference)

    def question(guest: Guest) -> Any:
        level = int(options.tier[1]) if options.tier else None
        return disas.disassemble(guest, options.place, level, options.bits, options.bytes)

    return ask(options, question, render.listing)
