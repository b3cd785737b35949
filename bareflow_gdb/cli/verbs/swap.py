"""`bareflow swap`: vetoes, allows, forces or rolls back the swaps of a function, and waits for the guest's answer."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from bareflow_gdb.cli.completers import COMPLETERS, completed
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.control import ACTIONS, WAIT_SECONDS
from bareflow_gdb.guest.base.values import TIERS
from bareflow_gdb.questions.question import FUNCTIONS

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.orders import Obeyed

GROUP = "do"
HELP = "veto, allow, force or roll back the swaps of a function"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS), help="what becomes of its swaps")
    completed(
        parser.add_argument("function", metavar="FUNCTION", help="its name, for instance primes"), COMPLETERS[FUNCTIONS]
    )
    what = "force: the tier, O0 to O3; rollback: the version's number (default: the one that was retired last)"
    tier = parser.add_argument("what", nargs="?", metavar="TIER|VERSION", help=what)
    completed(tier, lambda **_: list(TIERS))
    add_target(parser)
    parser.add_argument("--timeout", type=float, default=WAIT_SECONDS, metavar="S", help="seconds to wait (15)")
    parser.epilog = "Exit code 1 when the guest did not do it. Example: bareflow swap rollback primes"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.kernel_without_mailbox import is_stock
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.render.orders import obeyed

    _place_words(options)
    target = open_target(options.target)
    record = _of_stock(target, options) if is_stock(target) else _of_own(target, options)
    if options.json:
        print(json.dumps(to_json(record), indent=2))
    elif record.done:
        print(obeyed(record))
    else:
        print(f"bareflow swap: {obeyed(record)}", file=sys.stderr)
    return 0 if record.done else 1


def _of_own(target: Target, options: argparse.Namespace) -> Obeyed:
    from bareflow_gdb.guest import obeying, orders
    from bareflow_gdb.guest.guest import Guest

    if not target.memory.live:
        raise UsageError(f"{target.description} does not run; swaps are controlled in a running machine")
    root = Guest.attach(target.memory).kernel().need_interface("its swaps cannot be controlled from outside")
    record = orders.order(target.memory, root, options.action, options.function, options.what)
    if isinstance(record, orders.Order):
        return obeying.carried_out(target.memory, root, record, options.timeout)
    return record


def _of_stock(target: Target, options: argparse.Namespace) -> Obeyed:
    from bareflow_gdb.cli.kernel_without_mailbox import stock_guest, stopped
    from bareflow_gdb.guest.stock.rollback import check_order, roll_back
    from bareflow_gdb.guest.stock.search import JIT

    check_order(options.action, options.what)
    _, kernel = stock_guest(target)
    jit = kernel.records.address(JIT)
    with stopped(target) as memory:
        return roll_back(memory, jit, options.function, options.what)


def _place_words(options: argparse.Namespace) -> None:
    """`swap veto primes demo`: a word that is no tier or version is the TARGET."""
    from bareflow_gdb.guest.orders import takes

    if options.what is not None and options.target is None and not takes(options.action, options.what):
        options.what, options.target = None, options.what
