"""`bareflow checks --list`: which checks are there, what does each need? `--follow`: what do they find, as it comes?

Adds to the question `checks`.
"""

from __future__ import annotations

import argparse

from bareflow_gdb.cli import ask
from bareflow_gdb.questions.checks import QUESTION

GROUP = "look"
HELP = QUESTION.help

POLL_SECONDS = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    ask.configure(QUESTION, parser)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--list", action="store_true", help="only what checks there are; no guest is asked")
    only.add_argument("--follow", action="store_true", help="look again and again, until the machine ends")


def main(options: argparse.Namespace) -> int:
    if options.follow:
        return _follow(options)
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


def _follow(options: argparse.Namespace) -> int:
    """Reads the machine's RAM while it runs; each finding is told once."""
    import time

    from bareflow_gdb.checks import registry
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.questions.checks import details

    ask.place_words(QUESTION, options)
    target = open_target(options.target)
    machine = target.machine
    if machine is None or options.json:
        raise UsageError("--follow needs a running machine, and prints text: give no file and no --json")
    subject = ask.TargetContext(target).subject()
    told: set[tuple[str, str]] = set()
    while machine.alive():
        for finding in registry.run(subject, [options.check] if options.check else ()).findings:
            if finding.bad and registry.place(finding) not in told:
                told.add(registry.place(finding))
                print(details(finding), flush=True)
        time.sleep(POLL_SECONDS)
        subject = subject.again()
    return 1 if told else 0
