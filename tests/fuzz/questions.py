"""With which words is each question of the registry asked? A question that is added is asked too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from bareflow_gdb.questions import registry
from bareflow_gdb.questions.question import ADDRESS, FILES, NAME_OR_ADDRESS, Argument

PLACES = (0, 0x600, 0x10004, 0x20000, 0x29A2C, 0x200020, 0x200220, 0x2C0020, 0x300040, 0x600010, 0xB8000, 0xFFFFFFFF)
NAMES = ("primes", "fibonacci", "compute", "fft_1d", "nobody", "primes@O3", "primes #1", "blk.0.attn_q", "logits")
FILE_NAMES = ("README.TXT", "PRIMES.MOD", "NOBODY.X")
NUMBERS = (0, 1, 100, 1 << 40)


def every_question(places: Sequence[int] = PLACES) -> Iterator[list[str]]:
    """Each question in a few ways, the same every time: for what is looked at in a good guest."""
    for seed in range(4):
        for name in registry.names():
            yield words_of(Random(f"{name} {seed}"), name, places)


def words_of(chance: Random, name: str, places: Sequence[int] = PLACES) -> list[str]:
    """A question with words for its arguments."""
    words = [name]
    for argument in registry.load(name).arguments:
        words += _argument(chance, argument, places)
    return [*words, "--json"] if chance.random() < 0.4 else words


def _argument(chance: Random, argument: Argument, places: Sequence[int]) -> list[str]:
    keywords = argument.keywords
    optional = argument.is_option or keywords.get("nargs") in ("?", "*")
    if optional and chance.random() < 0.5:
        return []
    flag = [argument.flags[0]] if argument.is_option else []
    if keywords.get("action") == "store_true":
        return flag
    count = keywords.get("nargs") if isinstance(keywords.get("nargs"), int) else 1
    return flag + [_value(chance, argument, keywords, places) for _ in range(count)]


def _value(chance: Random, argument: Argument, keywords: dict[str, Any], places: Sequence[int]) -> str:
    if keywords.get("choices"):
        return str(chance.choice(list(keywords["choices"])))
    if argument.names == FILES:
        return chance.choice(FILE_NAMES)
    if argument.kind == ADDRESS or (argument.kind == NAME_OR_ADDRESS and chance.random() < 0.5):
        return hex(chance.choice(places))
    if argument.kind == NAME_OR_ADDRESS or keywords.get("type") is not int:
        return chance.choice(NAMES)
    return str(chance.choice(NUMBERS))
