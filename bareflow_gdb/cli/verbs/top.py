"""`bareflow top`: what does a running machine do, several times a second? The guest is not stopped."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.analysis.live import Look
    from bareflow_gdb.checks.subject import Subject
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.render.view import View

GROUP = "look"
HELP = "functions, tiers, rates, pools, swaps and findings of a running machine, as they change"

INTERVAL = 0.25
_SHORTEST = 0.05


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("--once", action="store_true", help="look twice, print what is there and the rates, and end")
    parser.add_argument(
        "--interval", type=float, default=INTERVAL, metavar="S", help=f"seconds between two looks (default {INTERVAL})"
    )
    parser.epilog = (
        "Reads QEMU's RAM, also while gdb is attached; Ctrl-C ends it. With --json, and where the output is no "
        "terminal, it looks --once. Exit code 1 when something is wrong at the last look."
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show

    if not options.interval >= _SHORTEST:
        raise UsageError(f"--interval takes seconds, {_SHORTEST} or more")
    target = open_target(options.target)
    if target.machine is None:
        raise UsageError(f"{target.description} is not a running machine; `bareflow list` shows them")
    subject = TargetContext(target).subject()
    if not options.once and not options.json and sys.stdout.isatty():
        return _follow(target.machine, subject, options.interval)
    now = _twice(subject, options.interval)
    print(dumps(now) if options.json else show(_view(target.machine, now)))
    return 1 if now.findings else 0


def _twice(subject: Subject, interval: float) -> Look:
    import time

    from bareflow_gdb.analysis.live import look

    first = look(subject)
    time.sleep(interval)
    return look(subject.again(), first)


def _view(machine: Machine, now: Look) -> View:
    from bareflow_gdb.guest.boot.wait import still
    from bareflow_gdb.render.top import view

    return view(machine.name, now, still(machine))


def _follow(machine: Machine, subject: Subject, interval: float) -> int:
    """Until Ctrl-C, or the machine's end."""
    import time

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from bareflow_gdb.analysis.live import look
    from bareflow_gdb.cli import signals
    from bareflow_gdb.render.text import coloured

    now = None
    with signals.noted() as stopped, Live(console=Console(), screen=True, auto_refresh=False) as live:
        while not stopped() and machine.alive():
            now = look(subject, now)
            width = shutil.get_terminal_size().columns
            live.update(Text.from_ansi(coloured(_view(machine, now), width), no_wrap=True), refresh=True)
            time.sleep(interval)
            subject = subject.again()
    print(f"machine {machine.name} has ended" if not stopped() else f"machine {machine.name} runs on")
    return 1 if now is not None and now.findings else 0
