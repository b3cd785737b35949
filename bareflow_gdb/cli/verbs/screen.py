"""`bareflow screen`: what is on the guest's screen?"""

from __future__ import annotations

import argparse

HELP = "the VGA text on the guest's screen, in its colours on a terminal"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.targets import add_target

    add_target(parser)
    parser.epilog = "The guest may run or be stopped. Example: bareflow screen > screen.txt"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import ask
    from bareflow_gdb.render import tables

    return ask(options, lambda guest: guest.screen(), tables.screen)
