"""Is a stock kernel loaded elsewhere than it was linked? Told by its code alone, where no ELF is at hand.

Every string of the image is looked for among the words of its code: where most are named a whole number of pages beside
their place, that is how far the kernel has slid.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass

from bareflow_gdb.guest.stock.window import Window

_IMAGE_BYTES = 128 << 10
_PAGE = 0x1000
_MOST = 1 << 20
_STRING = re.compile(rb"(?<=\0)[\x20-\x7e\t\r\n]{6,}(?=\0)")
_LEAST = 4
"""Strings that have to be named by the code: less may be chance."""
_AS_OFTEN = 4


@dataclass(frozen=True)
class Slide:
    """How far the kernel lies beside the addresses that its code names."""

    bytes: int
    """0 = it is where it was linked, or it cannot be told."""
    named: int
    """Strings that the code names there."""
    in_place: int
    """Strings that it names where they are."""


def slide_of(window: Window) -> Slide:
    """Of the kernel in this memory."""
    image = window.data[:_IMAGE_BYTES]
    starts: dict[int, list[int]] = defaultdict(list)
    for found in _STRING.finditer(image):
        address = window.start + found.start()
        starts[address % _PAGE].append(address)
    votes: Counter[int] = Counter()
    for word in _words(image):
        for address in starts.get(word % _PAGE, ()):
            if abs(address - word) <= _MOST:
                votes[address - word] += 1
    in_place = votes.pop(0, 0)
    shift, named = max(votes.items(), key=lambda vote: (vote[1], -abs(vote[0])), default=(0, 0))
    slid = named >= _LEAST and named > _AS_OFTEN * in_place
    return Slide(shift if slid else 0, named if slid else 0, in_place)


def _words(image: bytes) -> set[int]:
    """Every word of the image, at every alignment: code names addresses anywhere."""
    return {
        word
        for skip in range(4)
        for (word,) in struct.iter_unpack("<I", image[skip : len(image) - (len(image) - skip) % 4])
        if _PAGE <= word < 64 << 20
    }
