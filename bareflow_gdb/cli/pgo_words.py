"""Which words do the actions of `bareflow pgo` have in common, and what do those words stand for?"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import count
from bareflow_gdb.foreign import sentence

if TYPE_CHECKING:
    from bareflow_gdb.pgo.firmware import Firmware
    from bareflow_gdb.pgo.plan import Thresholds
    from bareflow_gdb.render.view import View

PROFILE, PLAN, CACHE = Path("pgo-profile.json"), Path("pgo-plan.json"), Path("cache/i686/default")
CALLS, COST, FACTOR = 100, 100_000, 10


def add_image(parser: argparse.ArgumentParser) -> None:
    """Adds --image: the kernel that is optimised; its modules lie beside it."""
    text = "boot image beside the built modules (default: the one built here)"
    parser.add_argument("--image", type=Path, metavar="FILE", help=text)


def firmware(options: argparse.Namespace) -> Firmware:
    """What --image names. Raises UsageError."""
    from bareflow_gdb.pgo.firmware import Firmware
    from bareflow_gdb.qemu.default import default_image

    return Firmware.of(options.image or default_image())


def add_thresholds(parser: argparse.ArgumentParser) -> None:
    """Adds what makes a module hot."""
    parser.add_argument("--calls", type=count, default=CALLS, metavar="N", help=f"calls that make it hot ({CALLS})")
    text = f"instructions or cycles in all that make it hot ({COST})"
    parser.add_argument("--cost", type=count, default=COST, metavar="N", help=text)
    text = f"times as many make it ultra-hot ({FACTOR})"
    parser.add_argument("--factor", type=count, default=FACTOR, metavar="N", help=text)


def thresholds(options: argparse.Namespace) -> Thresholds:
    """Raises UsageError."""
    from bareflow_gdb.pgo.plan import Thresholds

    return Thresholds(options.calls, options.cost, options.factor)


def show(view: View) -> None:
    """Prints it as answers are."""
    from bareflow_gdb.render.text import show as text

    print(text(view))


def tell(line: str) -> None:
    """What is done at this moment, on standard error."""
    with suppress(OSError):
        print(sentence(line), file=sys.stderr, flush=True)
