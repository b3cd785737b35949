"""`bf header`: a module's header."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.commands.identify import evaluate
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import module_names
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


@command(
    "header",
    example="bf header primes",
    arguments=(
        argument(
            "module",
            metavar="NAME|ADDRESS",
            nargs="+",
            help="a loaded module, or an address, as any expression of gdb's",
            complete=module_names,
        ),
        argument("--check", action="store_true", help="check the SHA-256 of images over 12 KB too"),
    ),
    show=table("header"),
    verdict=lambda record: not record.problems,
)
@only_with_guest
def header(options: argparse.Namespace, session: Session) -> Any:
    """Decode a module's header and check it: magic, version, entry, parts, relocations, SHA-256.

    An address may be inside the image or inside the module's code.
    """
    guest = session.guest
    wanted = " ".join(options.module)
    if wanted in module_names(session):
        return guest.header(wanted, options.check)
    try:
        address = evaluate(wanted)
    except UsageError:
        # No expression of gdb's: then a module's name that does not exist.
        return guest.header(wanted, options.check)
    return guest.header(address, options.check)
