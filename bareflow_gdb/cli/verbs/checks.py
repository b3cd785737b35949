"""`bareflow checks --list`: which checks are there, and what does each need? Adds to the question `checks`."""

from __future__ import annotations

import argparse

from bareflow_gdb.cli import ask
from bareflow_gdb.questions.checks import QUESTION

GROUP = "look"
HELP = QUESTION.help


def configure(parser: argparse.ArgumentParser) -> None:
    ask.configure(QUESTION, parser)
    parser.add_argument("--list", action="store_true", help="only what checks there are; no guest is asked")


def main(options: argparse.Namespace) -> int:
    if not options.list:
        return ask.main(QUESTION, options)
    from bareflow_gdb.checks import registry
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show
    from bareflow_gdb.render.view import View, table

    checks = [registry.listed(name) for name in registry.names()]
    if options.json:
        print(dumps(checks))
    else:
        rows = [(check.name, ", ".join(check.needs), check.looks_at) for check in checks]
        print(show(View("Checks", parts=(table("check|needs|looks at", rows),))))
    return 0
