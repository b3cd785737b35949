"""`bareflow serial`: what did the guest print on COM1?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

HELP = "what the guest printed on COM1: the serial log, else its own log buffer"

POLL_SECONDS = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.add_argument("--last", type=int, metavar="BYTES", help="only the end of it")
    parser.add_argument(
        "--follow", action="store_true", help="go on as it is printed, until the machine ends"
    )
    parser.epilog = "Example: bareflow serial --last 500 --follow"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import answer, ask
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.guest.machine.serial import read_serial_file
    from bareflow_gdb.render import tables

    target = open_target(options.target)
    machine = target.machine
    path = target.path if target.kind == "serial" else machine.serial_path if machine else None
    if target.kind == "trace" and target.path is not None:
        path = target.path / "serial.log"
    if options.follow and (machine is None or options.json):
        raise UsageError("--follow needs a running machine, and prints text: give no file and no --json")
    if path is None:
        return ask(options, lambda guest: guest.serial(options.last), tables.serial, target=target)
    record = read_serial_file(path, options.last)
    if machine is None or not options.follow:
        answer(options, record, tables.serial, f"({target.description}, {path})")
        return 0
    print(record.text, end="", flush=True)
    for text in follow(path, record.written, machine.alive):
        print(text, end="", flush=True)
    return 0


def follow(path: Path, at: int, alive: Callable[[], bool]) -> Iterator[str]:
    """What is added to the file from byte `at` on, until the machine has ended."""
    import time

    from bareflow_gdb.guest.base.values import lines_of

    with path.open("rb") as file:
        file.seek(at)
        while True:
            going = alive()
            data = file.read()
            if data:
                yield lines_of(data)
            elif not going:
                return
            else:
                time.sleep(POLL_SECONDS)
