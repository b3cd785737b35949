"""`bareflow module`: loads, unloads, reloads or registers a module in a running guest, and waits for its answer."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.control import LOAD, MODULE_ACTIONS, REGISTER, WAIT_SECONDS

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.module_orders import ModuleAnswer

GROUP = "do"
HELP = "load, unload or reload a module of a running guest"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    parser.add_argument("action", choices=MODULE_ACTIONS, metavar="|".join(MODULE_ACTIONS), help="what becomes of it")
    parser.add_argument(
        "what",
        metavar="FILE|NAME",
        help="load and reload: a module image; unload and register: the module's name, or FILE",
    )
    add_target(parser)
    parser.add_argument(
        "--register", action="store_true", help="with load: it becomes a function of the adaptive JIT, as after a boot"
    )
    parser.add_argument("--timeout", type=float, default=WAIT_SECONDS, metavar="S", help="seconds to wait (15)")
    parser.epilog = "Exit code 1 when the guest refused. Example: bareflow module reload primes.O3.mod"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.render.module_orders import answered

    if options.register and options.action != LOAD:
        raise UsageError("--register belongs to `module load`; `module register NAME` does it later")
    record = _ordered(open_target(options.target), options, options.action)
    if options.json:
        print(json.dumps(to_json(record), indent=2))
    elif record.done:
        print(answered(record))
    else:
        print(f"bareflow module: {answered(record)}", file=sys.stderr)
    return 0 if record.done else 1


def _ordered(target: Target, options: argparse.Namespace, action: str) -> ModuleAnswer:
    from bareflow_gdb.guest import module_obeying, module_orders
    from bareflow_gdb.guest.guest import Guest

    if not target.memory.live:
        raise UsageError(f"{target.description} does not run; modules are loaded into a running machine")
    image, name = module_orders.given(action, options.what)
    root = Guest.attach(target.memory).kernel().need_interface("it takes no module while it runs")
    record = module_obeying.carried_out(
        target.memory, root, module_orders.order(target.memory, root, action, image, name), options.timeout
    )
    if not options.register or not record.done:
        return record
    registering = module_orders.order(target.memory, root, REGISTER, name=record.name)
    return module_obeying.carried_out(target.memory, root, registering, options.timeout)
