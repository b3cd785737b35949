"""With which operations does the guest compute? The same integers and the same roundings of floats, in NumPy.

docs/model-format.md says them in words. All are single operations of IEEE 754 floats of 32 bits, rounded to nearest,
so that a guest with x87, SSE or AVX has the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.abi import layouts
from bareflow_gdb.model.encodings import GROUP, Floats
from bareflow_gdb.model.tiles import Integers

Ints = NDArray[np.int32]

_MOST = layouts.const("BF_MODEL_MOST_SCALE")
_LARGEST_INT8 = np.float32(127)
_SMALLEST = np.float32(1e-15)
"""A vector below it is taken as zeros: no product leaves the normal floats, where x87 and SSE differ."""
_STEP = np.float32(1 << 20)
"""What the shifts of a row's sum leave out."""

# Of these e to the power is a normal float, and also what that is multiplied with or divided by in a model.
_LOWEST, _HIGHEST = np.float32(-75), np.float32(75)
_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_POWERS = tuple(np.float32(number) for number in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1, 1))


@dataclass(frozen=True)
class Quantised:
    """Some vectors as the guest multiplies them: value = values x scale x unit."""

    values: Ints
    """[vectors, groups, 32], -127 to 127."""
    scales: Ints
    """[vectors, groups], 0 to 16,383."""
    sums: Ints
    """[vectors, groups]: of the values, times the scale, shifted by 10."""
    units: Floats
    """[vectors]"""

    def floats(self) -> Floats:
        """What stands for the values, [vectors, groups, 32]."""
        whole = (self.values * self.scales[..., None]).astype(np.float32)
        return np.asarray(whole * self.units[:, None, None], np.float32)


class Matrix:
    """Rows in the order in which they are multiplied here: group by group."""

    def __init__(self, rows: Integers) -> None:
        self.nibbles = np.ascontiguousarray(rows.nibbles.transpose(1, 0, 2))
        self.scales = np.ascontiguousarray(rows.scales.T).astype(np.int32)[..., None]
        self.minima = np.ascontiguousarray(rows.minima.T).astype(np.int32)[..., None]
        self.factors = rows.factors


def nearest(x: Floats) -> Ints:
    """The nearest whole number: half is added away from zero, then the fraction dropped."""
    return (x + np.copysign(np.float32(0.5), x)).astype(np.int32)


def quantised(x: Floats) -> Quantised:
    """Vectors, [vectors, columns]; groups are filled up with zeros."""
    count, columns = x.shape
    grouped = np.zeros((count, -(-columns // GROUP) * GROUP), np.float32)
    grouped[:, :columns] = x
    grouped = grouped.reshape(count, -1, GROUP)
    tops = np.abs(grouped).max(axis=-1)
    top = tops.max(axis=-1)
    used = top > _SMALLEST
    unit = np.where(used, top / np.float32(_MOST), np.float32(0))
    # Rounded up, so that no value passes 127.
    steps = np.divide(tops, unit[:, None], out=np.zeros_like(tops), where=used[:, None])
    scales = np.minimum(steps.astype(np.int32) + 1, _MOST)
    scales[~used] = 0
    widths = scales.astype(np.float32) * unit[:, None]
    factors = np.divide(_LARGEST_INT8, widths, out=np.zeros_like(widths), where=used[:, None])
    values = nearest(grouped * factors[..., None])
    sums = values.sum(axis=-1, dtype=np.int32) * scales >> 10
    return Quantised(values, scales, sums, np.asarray(unit / _LARGEST_INT8, np.float32))


def multiplied(rows: Matrix, x: Quantised) -> Floats:
    """Each row times each vector, [vectors, rows]; the vector is repeated for each plane."""
    planes = len(rows.nibbles) // x.values.shape[1]
    values = np.tile(x.values, (1, planes, 1)).transpose(1, 2, 0).astype(np.float32)
    wide, low = (np.tile(part, (1, planes)).T[:, None] for part in (x.scales, x.sums))
    # Sums of at most 15 x 127 x 32, exact in a float of 24 bits whatever their order.
    inner = np.matmul(rows.nibbles.astype(np.float32), values).astype(np.int32)
    inner *= rows.scales * wide >> 14
    inner >>= 6
    inner += rows.minima * low >> 6
    total = inner.sum(axis=0, dtype=np.int32)
    # One rounding from the whole number to the float, also where a register is wider.
    factors = rows.factors[:, None] * (x.units * _STEP)
    products: Floats = total.astype(np.float32) * factors
    return products.T


def exp(x: Floats) -> Floats:
    """e to the power of each: 2 to a whole power times a polynomial of the rest."""
    kept = np.clip(x, _LOWEST, _HIGHEST)
    power = nearest(kept * _LOG2_E)
    whole = power.astype(np.float32)
    rest = kept - whole * _LN2_HIGH - whole * _LN2_LOW
    value = np.full_like(rest, _POWERS[0])
    for factor in _POWERS[1:]:
        value = value * rest + factor
    result: Floats = value * ((power + 127) << 23).view(np.float32)
    return result


def total(x: Floats, axis: int) -> Floats:
    """The sum along an axis, one after the other."""
    last: Floats = np.add.accumulate(x, axis=axis, dtype=np.float32).take(-1, axis=axis)
    return last
