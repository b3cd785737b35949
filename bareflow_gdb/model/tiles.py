"""How do planes of floats become tiles of integers, which the guest multiplies, and what weights are those then?

For each row one float R: scale = s x R, minimum = 16 x t x R, with integers s and t of at most 16,383.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.abi import layouts
from bareflow_gdb.model.encodings import Bytes, Floats, Plane

ROWS = layouts.const("BF_MODEL_TILE_ROWS")
GROUP = layouts.const("BF_MODEL_GROUP_COLUMNS")
VECTORS = layouts.const("BF_MODEL_GROUP_VECTORS")
GROUP_BYTES = layouts.const("BF_MODEL_GROUP_BYTES")
_NIBBLE_BYTES = VECTORS * ROWS * 2
_SMALLEST = np.float32(1e-12)
"""A row with a smaller factor is taken as zeros: no product leaves the normal floats, where x87 and SSE differ."""

Shorts = NDArray[np.int16]


@dataclass(frozen=True)
class Integers:
    """Some rows of a matrix as the guest has them."""

    nibbles: Bytes
    """[rows, groups, 32]: the groups of the low plane, then those of the high one."""
    scales: Shorts
    """[rows, groups]"""
    minima: Shorts
    factors: Floats
    """[rows]"""

    def floats(self, planes: int) -> Floats:
        """Weights, [rows, columns]: each an integer, which a float holds exactly, times its row's factor."""
        whole = self.nibbles * self.scales[..., None].astype(np.int32) + 16 * self.minima[..., None].astype(np.int32)
        summed = whole.reshape(len(whole), planes, -1).sum(axis=1)
        weights: Floats = summed.astype(np.float32) * self.factors[:, None]
        return weights


def most_scale(groups: int) -> int:
    """The largest scale of a row of so many groups, so that the sum over them keeps within 31 bits."""
    most, full = layouts.const("BF_MODEL_MOST_SCALE"), layouts.const("BF_MODEL_FULL_GROUPS")
    return most if groups <= full else most * full // groups


def to_integers(planes: tuple[Plane, ...]) -> Integers:
    """The same rows with integer scales. The floats are finite."""
    nibbles, scales, minima = (
        np.concatenate([getattr(plane, name) for plane in planes], axis=1) for name in ("nibbles", "scales", "minima")
    )
    most = most_scale(nibbles.shape[1])
    top = np.maximum(np.abs(scales), np.abs(minima) / np.float32(16)).max(axis=1)
    factors = (top / np.float32(most)).astype(np.float32)
    factors[factors < _SMALLEST] = 0
    steps = np.divide(np.float32(1), factors, out=np.zeros_like(factors), where=factors > 0)[:, None]

    def rounded(values: Floats) -> Shorts:
        shorts: Shorts = np.clip(np.rint(values * steps), -most, most).astype(np.int16)
        return shorts

    return Integers(nibbles, rounded(scales), rounded(minima * np.float32(1 / 16)), factors)


def to_bytes(rows: Integers) -> bytes:
    """Their tiles; the last one is filled up with rows of zeros."""
    count, groups, _ = rows.nibbles.shape
    tiles = -(-count // ROWS)
    made = np.zeros((tiles, groups, GROUP_BYTES), np.uint8)

    def tiled(values: NDArray[np.integer], *inner: int) -> NDArray[np.integer]:
        full = np.zeros((tiles * ROWS, *values.shape[1:]), values.dtype)
        full[:count] = values
        return full.reshape(tiles, ROWS, *values.shape[1:2], *inner)

    # Lane r of vector v: columns 4v to 4v+3 of row r, the first in the lowest bits.
    quads = tiled(rows.nibbles, VECTORS, 4).astype("<u2")
    words = quads[..., 0] | quads[..., 1] << 4 | quads[..., 2] << 8 | quads[..., 3] << 12
    made[..., :_NIBBLE_BYTES] = (
        np.ascontiguousarray(words.transpose(0, 2, 3, 1)).view(np.uint8).reshape(tiles, groups, -1)
    )
    for at, values in ((0, rows.scales), (1, rows.minima)):
        lanes = np.ascontiguousarray(tiled(values.astype("<i2")).transpose(0, 2, 1)).view(np.uint8)
        begin = _NIBBLE_BYTES + at * 2 * ROWS
        made[..., begin : begin + 2 * ROWS] = lanes
    return made.tobytes()


def from_bytes(tiles: Bytes, groups: int, factors: Floats) -> Integers:
    """The rows of whole tiles, with the factors of those that there are."""
    grouped = tiles.reshape(-1, groups, GROUP_BYTES)
    words = np.ascontiguousarray(grouped[..., :_NIBBLE_BYTES]).view("<u2").reshape(-1, groups, VECTORS, ROWS)
    quads = np.stack([(words >> shift & 15).astype(np.uint8) for shift in (0, 4, 8, 12)], axis=-1)
    nibbles = quads.transpose(0, 3, 1, 2, 4).reshape(-1, groups, GROUP)
    lanes = np.ascontiguousarray(grouped[..., _NIBBLE_BYTES:]).view("<i2").reshape(-1, groups, 2, ROWS)
    scales, minima = (lanes[:, :, which].transpose(0, 2, 1).reshape(-1, groups) for which in (0, 1))
    count = len(factors)
    return Integers(nibbles[:count], scales[:count], minima[:count], factors)
