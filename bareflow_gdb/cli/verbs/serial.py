"""`bareflow serial --follow`: what does the guest print on COM1, as it comes? Adds to the question `serial`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from bareflow_gdb.cli import ask
from bareflow_gdb.questions.serial import QUESTION

GROUP = "look"
HELP = QUESTION.help

POLL_SECONDS = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    ask.configure(QUESTION, parser)
    parser.add_argument("--follow", action="store_true", help="go on as it is printed, until the machine ends")


def main(options: argparse.Namespace) -> int:
    if not options.follow:
        return ask.main(QUESTION, options)
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.guest.machine.serial import read_serial_file

    machine = open_target(options.target).machine
    if machine is None or options.json:
        raise UsageError("--follow needs a running machine, and prints text: give no file and no --json")
    record = read_serial_file(machine.serial_path, options.last)
    print(record.text, end="", flush=True)
    for text in follow(machine.serial_path, record.written, machine.alive):
        print(text, end="", flush=True)
    return 0


def follow(path: Path, at: int, alive: Callable[[], bool]) -> Iterator[str]:
    """What is added to the file from byte `at` on, until the machine has ended."""
    import time

    from bareflow_gdb.foreign import console_begun, console_of

    with path.open("rb") as file:
        file.seek(at)
        begun = b""
        while True:
            going = alive()
            data = begun + file.read()
            whole = len(data) - console_begun(data) if going else len(data)
            if whole:
                yield console_of(data[:whole])
            elif not going:
                return
            else:
                time.sleep(POLL_SECONDS)
            begun = data[whole:]
