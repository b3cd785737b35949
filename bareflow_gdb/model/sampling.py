"""Which token does the guest draw? By shares that are whole numbers, so that it is the same one at every tier.

docs/model-format.md says the rules in words.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model import arithmetic
from bareflow_gdb.model.encodings import Floats

_LEAST = np.float32(-12)
_WORD = 0xFFFFFFFF


def shares(logits: Floats, temperature: int) -> NDArray[np.int64]:
    """Of each token, 0 to 65,536: all together keep within 32 bits."""
    one = layouts.const("BF_SAMPLE_ONE")
    most = min(one, _WORD // len(logits))
    # The guest's argmax begins with the first, which what is no number does not pass.
    top = logits[likeliest(logits)]
    with np.errstate(all="ignore"):
        less = (logits - top) * (np.float32(one) / np.float32(temperature))
        kept = (less >= _LEAST) & (less <= 0)
        drawn = arithmetic.nearest(arithmetic.exp(np.where(kept, less, 0)) * np.float32(most))
    return np.where(kept, drawn, 0).astype(np.int64)


def likeliest(logits: Floats) -> int:
    """The first of the largest; the first of all when that is no number."""
    return 0 if np.isnan(logits[0]) else int(np.nanargmax(logits))


def drawn(logits: Floats, sampling: Sampling, index: int) -> int:
    """Token `index` of an answer."""
    return taken(logits, sampling.temperature, sampling.top_p, number(sampling.seed, index))


def taken(logits: Floats, temperature: int, top_p: int, which: int) -> int:
    """The token that a number of 32 bits stands for."""
    every = shares(logits, temperature)
    wanted = int(every.sum()) * top_p >> 16
    # The largest share such that those that are no smaller have what is wanted.
    ordered = np.sort(every[every > 0])[::-1]
    enough = np.flatnonzero(np.cumsum(ordered) >= wanted)
    if not len(enough):
        return likeliest(logits)
    kept = np.where(every >= ordered[enough[0]], every, 0)
    chosen = int(kept.sum()) * which >> 32
    return int(np.flatnonzero(np.cumsum(kept) > chosen)[0])


def number(seed: int, index: int) -> int:
    """The guest's random number for a token: murmur3's finaliser, twice."""
    x = seed
    for _ in range(2):
        x = (x + 0x9E3779B9 * (index + 1)) & _WORD
        x = (x ^ x >> 16) * 0x85EBCA6B & _WORD
        x = (x ^ x >> 13) * 0xC2B2AE35 & _WORD
        x ^= x >> 16
    return x
