"""Which words on a command line are addresses?"""

from __future__ import annotations

import argparse


def address(text: str) -> int:
    """A number, 0x… or decimal; for argparse."""
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; try 0x10000") from None


def name_or_address(text: str) -> str | int:
    """An address if it begins like a number, else a name."""
    try:
        return int(text, 0)
    except ValueError:
        return text
