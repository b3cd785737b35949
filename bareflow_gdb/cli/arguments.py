"""Which words do verbs have in common, and which of them are addresses?"""

from __future__ import annotations

import argparse

TARGET_HELP = "machine name, tcp:HOST:PORT, unix:PATH, core, dump or trace (default: the newest machine)"
ELF_HELP = "the kernel's ELF file, for names (default: the one beside the machine's image)"


def address(text: str) -> int:
    """A number, 0x… or decimal; for argparse."""
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address; try 0x10000") from None


def name_or_address(text: str) -> str | int:
    """An address if it begins like a number, else a name."""
    try:
        return int(text, 0)
    except ValueError:
        return text
