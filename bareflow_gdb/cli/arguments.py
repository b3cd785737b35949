"""Which words do verbs have in common, and which of them are addresses?"""

from __future__ import annotations

import argparse
import secrets
from typing import TYPE_CHECKING, Any

from bareflow_gdb.cli.completers import completed, machines, targets
from bareflow_gdb.guest.base.values import checked_address

if TYPE_CHECKING:
    from bareflow_gdb.guest.model.conversation import Sampling

_TARGET = "machine name, tcp:HOST:PORT, unix:PATH, core, dump or trace (default: the newest machine)"
_BASE = "TARGET is a raw dump of memory that begins there (default: by its content, at 0)"
ELF_HELP = "the kernel's ELF file, for names (default: the one beside the machine's image)"


def add_target(parser: argparse.ArgumentParser, *, dumps: bool = False) -> None:
    """Adds the optional TARGET word, as `options.target`; `dumps`: and where a raw dump begins, for `asked_target`."""
    completed(parser.add_argument("target", nargs="?", metavar="TARGET", help=_TARGET), targets)
    if dumps:
        parser.add_argument("--base", type=address, metavar="ADDRESS", help=_BASE)


def add_machine(parser: argparse.ArgumentParser, name: str = "target", **keywords: Any) -> None:
    """Adds a MACHINE word, as `options.NAME`, by default the newest machine."""
    words = {"nargs": "?", "metavar": "MACHINE", "help": "a machine's name (default: the newest)", **keywords}
    completed(parser.add_argument(name, **words), machines)


def add_shared(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds --shared: what a verb writes holds guest memory, and is otherwise for its user's eyes."""
    parser.add_argument(
        "--shared", action="store_true", help=f"let others read {what}, as the umask allows (default: only you may)"
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Adds how a model's tokens are drawn, for `sampling_of`."""
    parser.add_argument(
        "--temperature", type=float, metavar="T", default=0.0, help="draw tokens by their shares (0.8 is usual)"
    )
    parser.add_argument(
        "--top-p", type=float, metavar="P", default=1.0, help="only the likeliest that have this share together"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the same one gives the same tokens (default: any)")


def sampling_of(options: argparse.Namespace) -> Sampling | None:
    """How tokens are drawn; None: they are not. Raises UsageError."""
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.guest.model.conversation import Sampling

    if not options.temperature and (options.seed is not None or options.top_p != 1):
        raise UsageError("--top-p and --seed say how tokens are drawn; give --temperature too, 0.8 is usual")
    seed = secrets.randbits(32) if options.seed is None else options.seed
    return Sampling.of(options.temperature, options.top_p, seed)


def count(text: str) -> int:
    """A number that is not negative; for argparse."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a count")


def address(text: str) -> int:
    """A number, 0x… or decimal, of at most 32 bits; for argparse. Raises UsageError for more."""
    try:
        value = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address; try 0x10000") from None
    return checked_address(value)


def name_or_address(text: str) -> str | int:
    """An address if it begins like a number, else a name."""
    try:
        value = int(text, 0)
    except ValueError:
        return text
    return checked_address(value)
