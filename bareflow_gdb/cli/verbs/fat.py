"""`bareflow fat cat FILE > COPY`: which bytes does a file of the disk have? Adds to the question `fat`."""

from __future__ import annotations

import argparse
import sys

from bareflow_gdb.cli import ask
from bareflow_gdb.questions.fat import QUESTION, image_of

GROUP = "look"
HELP = QUESTION.help


def configure(parser: argparse.ArgumentParser) -> None:
    ask.configure(QUESTION, parser)


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import asked_target
    from bareflow_gdb.guest.machine.disk import read_content

    if options.action != "cat" or options.json or sys.stdout.isatty():
        return ask.main(QUESTION, options)
    ask.place_words(QUESTION, options)
    if options.file is None:
        return ask.main(QUESTION, options)
    _, data = read_content(image_of(ask.TargetContext(asked_target(options, QUESTION.file_kind))), options.file)
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    return 0
