"""`bf swap`: vetoes, allows, forces or rolls back the swaps of a function, and waits for the guest's answer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.base.control import ACTIONS, STANDING, WAIT_SECONDS
from bareflow_gdb.questions.question import FUNCTIONS, argument

if TYPE_CHECKING:
    from bareflow_gdb.guest.base.root import Root
    from bareflow_gdb.guest.orders import Obeyed, Order
    from bareflow_gdb.guest.stock.kernel import StockKernel


@command(
    "swap",
    needs=Session.require_live,
    example="bf swap rollback primes",
    arguments=(
        argument("action", choices=ACTIONS, metavar="|".join(ACTIONS), help="what becomes of its swaps"),
        argument("function", metavar="FUNCTION", names=FUNCTIONS, help="whose swaps"),
        argument(
            "what",
            nargs="?",
            metavar="TIER|VERSION",
            help="force: O0 to O3; rollback: a version's number (default: the one that was retired last)",
        ),
        argument("--timeout", type=float, default=WAIT_SECONDS, metavar="S", help="seconds to wait (15)"),
    ),
    show=lambda record: _text(record),
    verdict=lambda record: record.done,
)
def swap(options: argparse.Namespace, session: Session) -> Obeyed:
    """Veto, allow, force or roll back the swaps of a function.

    `veto` and `allow` are words that the guest reads before each swap; a stopped guest remains stopped. `force` and
    `rollback` are carried out by the guest at its next safe point: a stopped guest runs until that is done, and is
    stopped again. What the guest refuses is told with its reason.
    """
    from bareflow_gdb.guest import obeying, orders
    from bareflow_gdb.guest.stock.kernel import StockKernel

    kernel = session.guest.kernel()
    if isinstance(kernel, StockKernel):
        return _of_stock(session, kernel, options)
    root = kernel.need_interface("its swaps cannot be controlled from outside")
    made = orders.order(session.memory, root, options.action, options.function, options.what)
    if not isinstance(made, orders.Order):
        return made
    if session.running:
        record = obeying.carried_out(session.memory, root, made, options.timeout)
    elif made.action in STANDING:
        orders.give(session.memory, made)
        record = orders.stands(session.memory, root, made)
    else:
        record = _run_until_obeyed(session, root, made, options.timeout)
    session.refresh()
    session.update_symbols()
    return record


def _of_stock(session: Session, kernel: StockKernel, options: argparse.Namespace) -> Obeyed:
    """Its code pointer is set back from here, when it was set from here."""
    from bareflow_gdb.guest.stock.rollback import check_order, roll_back
    from bareflow_gdb.guest.stock.search import JIT

    check_order(options.action, options.what)
    if session.running:
        raise UsageError("this kernel has no mailbox, so its CPU has to stand still for that: `interrupt` first")
    record = roll_back(session.memory, kernel.records.address(JIT), options.function, options.what)
    session.refresh()
    session.update_symbols()
    return record


def _run_until_obeyed(session: Session, root: Root, order: Order, timeout: float) -> Obeyed:
    """Lets the guest run until it has changed the control word, and the host has answered where that is asked."""
    from bareflow_gdb.guest import obeying, orders

    orders.give(session.memory, order)
    ended = order.slot.address + layouts.offset("bf_mail_slot", "state")
    with (
        running.internal_watchpoint(order.word) as obeyed,
        running.internal_watchpoint(ended) as answered,
        running.interrupted_after(timeout) as late,
    ):
        stop = running.resume()
        while (record := orders.answer(session.memory, root, order)) is None:
            if obeyed not in stop.breakpoints and answered not in stop.breakpoints:
                break
            stop = running.resume()
    if record is not None:
        return record
    if late.is_set():
        raise BareflowError(obeying.no_answer(session.memory, root, order, timeout))
    half_done = orders.left_under_way(session.memory, root, order, f"{stop} stopped the guest")
    if half_done is not None:
        return half_done
    orders.withdraw(session.memory, order)
    raise BareflowError(f"{stop} stopped the guest before it came to the order, which is taken back")


def _text(record: Obeyed) -> str:
    from bareflow_gdb.render.orders import obeyed

    return obeyed(record)
