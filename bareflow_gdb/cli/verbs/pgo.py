"""`bareflow pgo ACTION`: modules optimised by what they cost in the guest. Each action is a file of cli/pgo."""

from __future__ import annotations

import argparse
import importlib
import pkgutil

from bareflow_gdb.cli import pgo

GROUP = "build"
HELP = "optimise modules by what they cost in the guest, and measure what it gained"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "docs/pgo.md explains the plan, the files and the measurements."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for item in pkgutil.iter_modules(pgo.__path__):
        module = importlib.import_module(f"{pgo.__name__}.{item.name}")
        action = actions.add_parser(item.name, help=module.HELP, description=module.HELP)
        module.configure(action)
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        action.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")


def main(options: argparse.Namespace) -> int:
    code: int = importlib.import_module(f"{pgo.__name__}.{options.action}").main(options)
    return code
