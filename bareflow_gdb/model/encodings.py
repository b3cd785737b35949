"""How does a tensor of a model file hold its weights, and what are they as floats and as nibbles?

A weight is scale x nibble + minimum in one plane, or the sum of that over two planes, with one scale and one minimum
for each group of 32 columns of a row. Sources: ggml's `block_q4_0`, `block_q4_1`, `block_q8_0`; no bit of a weight of
these is lost here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.abi import layouts

GROUP = layouts.const("BF_MODEL_GROUP_COLUMNS")
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Plane:
    """Four bits of each weight of some rows."""

    nibbles: Bytes
    """[rows, groups, 32], 0 to 15."""
    scales: Floats
    """[rows, groups]"""
    minima: Floats


@dataclass(frozen=True)
class Encoding:
    """A tensor type of GGUF."""

    name: str
    block: int
    """Weights a block; a row is a whole number of them."""
    block_bytes: int
    planes: int
    """What a matrix of this type is packed as."""
    floats: Callable[[Bytes], Floats]
    """Bytes of whole rows, [rows, bytes], to weights, [rows, columns]."""
    split: Callable[[Bytes], tuple[Plane, ...]] | None = None
    """The same to planes; None: from the floats."""

    def row_bytes(self, columns: int) -> int:
        return columns // self.block * self.block_bytes

    def to_planes(self, raw: Bytes) -> tuple[Plane, ...]:
        return self.split(raw) if self.split else quantised(self.floats(raw))


def _half(blocks: Bytes, at: int) -> Floats:
    """The half float at byte `at` of each block."""
    pair: NDArray[np.float16] = np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0]
    return pair.astype(np.float32)


def _blocks(raw: Bytes, size: int) -> Bytes:
    return raw.reshape(raw.shape[0], -1, size)


def _nibbles(packed: Bytes) -> Bytes:
    """16 bytes: the low halves are weights 0 to 15, the high ones 16 to 31."""
    return np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)


def _split_q4_0(raw: Bytes) -> tuple[Plane, ...]:
    blocks = _blocks(raw, 18)
    scales = _half(blocks, 0)
    return (Plane(_nibbles(blocks[..., 2:]), scales, scales * np.float32(-8)),)


def _split_q4_1(raw: Bytes) -> tuple[Plane, ...]:
    blocks = _blocks(raw, 20)
    return (Plane(_nibbles(blocks[..., 4:]), _half(blocks, 0), _half(blocks, 2)),)


def _split_q8_0(raw: Bytes) -> tuple[Plane, ...]:
    blocks = _blocks(raw, 34)
    return _two_planes(blocks[..., 2:] ^ np.uint8(128), _half(blocks, 0))


def _two_planes(above: Bytes, scales: Floats) -> tuple[Plane, ...]:
    """Of weights scale x (above - 128): the low halves carry the minimum."""
    low = Plane(above & np.uint8(15), scales, scales * np.float32(-128))
    return low, Plane(above >> np.uint8(4), scales * np.float32(16), np.zeros_like(scales))


def quantised(weights: Floats) -> tuple[Plane, ...]:
    """Weights, [rows, columns], in 8 bits each, as Q8_0 does but with a whole float as scale; columns are filled up."""
    rows, columns = weights.shape
    grouped = np.zeros((rows, -(-columns // GROUP) * GROUP), np.float32)
    grouped[:, :columns] = weights
    grouped = grouped.reshape(rows, -1, GROUP)
    scales = np.abs(grouped).max(axis=-1) / np.float32(127)
    steps = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales > np.float32(1e-30))
    # What is not finite has a scale that is not.
    with np.errstate(invalid="ignore", over="ignore"):
        above = (np.clip(np.rint(grouped * steps[..., None]), -127, 127) + 128).astype(np.uint8)
    return _two_planes(above, scales)


def joined(planes: tuple[Plane, ...]) -> Floats:
    """The weights, [rows, columns]."""
    total = sum(plane.nibbles * plane.scales[..., None] + plane.minima[..., None] for plane in planes)
    return np.asarray(total, np.float32).reshape(planes[0].nibbles.shape[0], -1)


def _floats_f16(raw: Bytes) -> Floats:
    return np.ascontiguousarray(raw).view("<f2").astype(np.float32)


def _floats_f32(raw: Bytes) -> Floats:
    return np.ascontiguousarray(raw).view("<f4").astype(np.float32)


def _floats_q8_0(raw: Bytes) -> Floats:
    blocks = _blocks(raw, 34)
    weights = blocks[..., 2:].view(np.int8) * _half(blocks, 0)[..., None]
    return weights.astype(np.float32).reshape(raw.shape[0], -1)


ENCODINGS = {
    0: Encoding("F32", 1, 4, 2, _floats_f32),
    1: Encoding("F16", 1, 2, 2, _floats_f16),
    2: Encoding("Q4_0", 32, 18, 1, lambda raw: joined(_split_q4_0(raw)), _split_q4_0),
    3: Encoding("Q4_1", 32, 20, 1, lambda raw: joined(_split_q4_1(raw)), _split_q4_1),
    8: Encoding("Q8_0", 32, 34, 2, _floats_q8_0, _split_q8_0),
}
"""By the number of the type in GGUF."""

FOREIGN = {
    6: "Q5_0",
    7: "Q5_1",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
}
"""Types that are not read, by name."""
