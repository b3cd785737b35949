"""`bareflow fat list | cat`: what is on the guest's FAT16 disk?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target

HELP = "the files of a FAT16 disk: a machine's second disk, or an image"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the files, and whether the guest has mounted this volume")
    listing.add_argument("target", nargs="?", metavar="MACHINE|IMAGE", help="default: the newest machine")
    listing.epilog = "Exit code 1 when something on the volume is damaged."
    cat = actions.add_parser("cat", help="one file, byte for byte")
    cat.add_argument("target", nargs="?", metavar="MACHINE|IMAGE", help="default: the newest machine")
    cat.add_argument("file", metavar="FILE", help="its 8.3 name, in upper or lower case")
    cat.epilog = "Example: bareflow fat cat fat16.img README.TXT"
    for action in (listing, cat):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        action.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target

    target = open_target(options.target)
    return _list(options, target) if options.action == "list" else _cat(options, target)


def _list(options: argparse.Namespace, target: Target) -> int:
    from bareflow_gdb.cli.ask import answer, ask
    from bareflow_gdb.guest.machine.disk import read_image
    from bareflow_gdb.render import tables

    if target.kind != "disk" or target.path is None:
        return ask(
            options, lambda guest: guest.disk(), tables.disk, lambda record: not record.problems, target
        )
    record = read_image(target.path)
    answer(options, record, tables.disk, f"({target.description})")
    return 1 if record.problems else 0


def _cat(options: argparse.Namespace, target: Target) -> int:
    from bareflow_gdb.cli.ask import answer
    from bareflow_gdb.guest.machine.disk import read_content
    from bareflow_gdb.render import tables

    record, data = read_content(_image(target), options.file)
    if options.json or sys.stdout.isatty():
        answer(options, record, tables.fat_content, f"({target.description})")
        return 0
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return 0


def _image(target: Target) -> Path:
    from bareflow_gdb.qemu.disk import image_path

    if target.kind == "disk" and target.path is not None:
        return target.path
    return image_path(target.memory)
