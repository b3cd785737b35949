"""`bf module`: loads, unloads, reloads or registers a module in the guest, and waits for its answer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.base.control import MODULE_ACTIONS, WAIT_SECONDS
from bareflow_gdb.questions.question import MODULES, argument

if TYPE_CHECKING:
    from bareflow_gdb.guest.base.root import Root
    from bareflow_gdb.guest.module_orders import ModuleAnswer, ModuleOrder


@command(
    "module",
    needs=Session.require_live,
    example="bf module reload primes.O3.mod",
    arguments=(
        argument("action", choices=MODULE_ACTIONS, metavar="|".join(MODULE_ACTIONS), help="what becomes of it"),
        argument(
            "what",
            metavar="FILE|NAME",
            names=MODULES,
            help="load and reload: a module image; unload and register: the module's name, or FILE",
        ),
        argument("--timeout", type=float, default=WAIT_SECONDS, metavar="S", help="seconds to wait (15)"),
    ),
    show=lambda record: _text(record),
    verdict=lambda record: record.done,
)
def module(options: argparse.Namespace, session: Session) -> ModuleAnswer:
    """Load, unload, reload or register a module while the guest is up.

    The guest checks an image as at boot, at its next safe point: a stopped guest runs until that is done, and is
    stopped again. What it refuses is told with its reason. A version that another took the place of is retired.
    """
    from bareflow_gdb.guest import module_obeying, module_orders

    image, name = module_orders.given(options.action, options.what)
    root = session.guest.kernel().need_interface("it takes no module while it runs")
    made = module_orders.order(session.memory, root, options.action, image, name)
    if session.running:
        record = module_obeying.carried_out(session.memory, root, made, options.timeout)
    else:
        record = _run_until_obeyed(session, root, made, options.timeout)
    session.refresh()
    session.update_symbols()
    return record


def _run_until_obeyed(session: Session, root: Root, order: ModuleOrder, timeout: float) -> ModuleAnswer:
    """Lets the guest run until it has set the order's word to 0."""
    from bareflow_gdb.guest import module_obeying, module_orders

    module_orders.give(session.memory, order)
    with running.internal_watchpoint(order.word) as obeyed, running.interrupted_after(timeout) as late:
        stop = running.resume()
        while (record := module_orders.answer(session.memory, root, order)) is None and obeyed in stop.breakpoints:
            stop = running.resume()
    if record is not None:
        return record
    module_orders.withdraw(session.memory, order)
    if late.is_set():
        raise BareflowError(module_obeying.no_answer(session.memory, root, timeout))
    raise BareflowError(f"{stop} stopped the guest before it came to the order, which is taken back")


def _text(record: ModuleAnswer) -> str:
    from bareflow_gdb.render.module_orders import answered

    return answered(record)
