"""With which arguments are two versions compared? Those seen in the guest, then small, random and extreme ones."""

from __future__ import annotations

import random
from collections.abc import Iterable

from bareflow_gdb.recompile.verify.trial import MOST_INPUTS

Pair = tuple[int, int]

_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1
_SMALL = (
    *((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (-1, 0), (0, -1), (-1, -1), (3, 7), (7, 3)),
    *((5, -5), (8, 64), (16, 16), (31, 32), (10, 1000), (100, 3), (255, 256)),
)
_EXTREME = (
    *((_LOWEST, 0), (0, _LOWEST), (_LOWEST, -1), (_LOWEST, _LOWEST), (0, _HIGHEST), (1, _HIGHEST), (_HIGHEST, 1)),
    *((_HIGHEST, _HIGHEST), (-1, _HIGHEST), (0x10000, 0x10000), (-32768, 32767), (0x55555555, -0x55555556)),
)
_RANDOM_SMALL, _RANDOM_WIDE = 32, 32
_MOST_SEEN = 32


def choose(usual: Pair, seen: Iterable[Pair], seed: str) -> tuple[tuple[Pair, ...], int]:
    """The inputs, each once, and how many of them come from the guest itself; the same for the same arguments."""
    chance = random.Random(seed)
    a, b = usual
    near = [(a + 1, b), (a, b + 1), (a - 1, b), (a, b - 1), (b, a), (a // 2, b // 2)]
    width = max(8, min(2 * max(abs(a), abs(b)), 4096))
    small = [(chance.randint(-4, width), chance.randint(-4, width)) for _ in range(_RANDOM_SMALL)]
    wide = [(chance.randint(_LOWEST, _HIGHEST), chance.randint(_LOWEST, _HIGHEST)) for _ in range(_RANDOM_WIDE)]
    own = list(dict.fromkeys([usual, *seen]))[: 1 + _MOST_SEEN]
    others = [pair for pair in [*_SMALL, *near, *small, *_EXTREME, *wide] if _fits(pair)]
    return tuple(dict.fromkeys([*own, *others]))[:MOST_INPUTS], len(own)


def smaller(pair: Pair) -> list[Pair]:
    """Inputs nearer to zero, the nearest first."""
    a, b = pair
    return [(less, b) for less in _towards_zero(a)] + [(a, less) for less in _towards_zero(b)]


def _towards_zero(value: int) -> list[int]:
    size, sign = abs(value), 1 if value > 0 else -1
    sizes = dict.fromkeys([0, 1, size >> 1, size - (size >> 2), size - 1])
    return [sign * less for less in sizes if 0 <= less < size] + ([size] if value < 0 else [])


def _fits(pair: Pair) -> bool:
    return all(_LOWEST <= value <= _HIGHEST for value in pair)
