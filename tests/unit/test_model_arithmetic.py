"""The guest's arithmetic: the same bits in NumPy and in C for each kind of x86, no overflow, close to floats."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llama_flags import AS_THE_GUEST

from bareflow_gdb.abi import layouts
from bareflow_gdb.model import arithmetic
from bareflow_gdb.model.encodings import ENCODINGS, Floats
from bareflow_gdb.model.tiles import ROWS, Integers, most_scale, to_bytes, to_integers

ROOT = Path(__file__).parents[2]
LLAMA = ROOT / "firmware" / "llama"
SOURCES = [ROOT / "tests/support/model_kernels.c", *(LLAMA / "kernels").glob("*.c")]
TARGETS = {
    "x87": ("--target=i686-linux-gnu", "-mno-sse", "-mno-mmx", "-O0", "-DLEVEL=O0"),
    "x87 optimised": ("--target=i686-linux-gnu", "-mno-sse", "-mno-mmx", "-O3", "-DLEVEL=O3"),
    "sse": ("--target=i686-linux-gnu", "-msse2", "-O3"),
    "avx2": ("--target=i686-linux-gnu", "-mavx2", "-O3"),
    "64 bits": ("--target=x86_64-linux-gnu", "-O3", "-DLEVEL=O3", "-Wno-int-to-pointer-cast"),
}
SIZES = [(48, 64, 1), (37, 172, 2), (16, 2048, 1), (20, 4096, 1), (64, 1536, 2), (48, 1024, 1), (32, 96, 1)]
"""Rows, columns, planes; every second one has sums beyond the 24 bits of a float."""
FULL = 2048
"""Columns of the one whose numbers are all the largest that there are."""
SMALL = 96
"""Columns of the one with the smallest factors and values that are not taken as zeros."""


def kernels(folder: Path, name: str) -> Path:
    """The C program."""
    made = folder / "kernels"
    places = (f"-I{place}" for place in (Path(layouts.__file__).parent, LLAMA))
    words = ["clang-19", *TARGETS[name], *AS_THE_GUEST, *places, *map(str, SOURCES), "-o", str(made)]
    subprocess.run(words, check=True)
    return made


def matrix(rows: int, columns: int, planes: int, seed: int) -> Integers:
    chance = np.random.default_rng(seed)
    if planes == 2:
        return to_integers(ENCODINGS[0].to_planes(chance.standard_normal((rows, columns)).astype("<f4").view(np.uint8)))
    most, shape = most_scale(columns // 32), (rows, columns // 32)
    return Integers(
        chance.integers(0, 16, (*shape, 32), np.uint8),
        chance.integers(-most, most + 1, shape, np.int16),
        chance.integers(-most, most + 1, shape, np.int16),
        (chance.random(rows, np.float32) + np.float32(0.1)) / np.float32(1e6),
    )


def vector(columns: int, seed: int) -> Floats:
    chance = np.random.default_rng(seed)
    # Groups of very different sizes, and one of zeros.
    made = chance.standard_normal(columns) * 10.0 ** np.repeat(chance.integers(-4, 2, -(-columns // 32)), 32)[:columns]
    made[32:64] = 0
    return made.astype(np.float32)


@pytest.mark.parametrize("name", TARGETS)
def test_c_has_the_bits_of_the_reference(tmp_path: Path, name: str) -> None:
    if name == "avx2" and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    program = kernels(tmp_path, name)
    for seed, (rows, columns, planes) in enumerate(SIZES):
        weights, x = matrix(rows, columns, planes, seed), vector(columns, seed)
        if seed % 2:
            weights, x = replace(weights, scales=np.abs(weights.scales)), np.abs(x) + np.float32(1)
        if columns == FULL:
            scales = np.full_like(weights.scales, most_scale(columns // 32))
            weights = replace(weights, nibbles=np.full_like(weights.nibbles, 15), scales=scales, minima=scales)
            x = np.full_like(x, 3)
        if columns == SMALL:
            weights = replace(weights, factors=weights.factors / weights.factors.min() * np.float32(1.1e-12))
            x = x / np.abs(x).max() * np.float32(1.1e-15)
        norm = np.random.default_rng(seed).random(columns, np.float32)
        factors = np.zeros(-(-rows // ROWS) * ROWS, "<f4")
        factors[:rows] = weights.factors
        head = np.array([rows, columns, planes], "<u4").tobytes()
        given = head + to_bytes(weights) + factors.tobytes() + x.tobytes() + norm.tobytes()
        try:
            done = subprocess.run([program], input=given, capture_output=True, check=True)
        except OSError as error:
            pytest.skip(f"this host does not run such programs: {error}")
        found = np.frombuffer(done.stdout, "<f4")
        wanted = [
            arithmetic.multiplied(arithmetic.Matrix(weights), arithmetic.quantised(x[None]))[0],
            normed(x, norm),
            arithmetic.exp(x),
        ]
        assert np.array_equal(found.view(np.uint32), np.concatenate(wanted).view(np.uint32)), (rows, columns, planes)


def normed(x: Floats, factors: Floats) -> Floats:
    """As Network does it."""
    mean = arithmetic.total(x * x, axis=-1) / np.float32(len(x))
    return x * (np.float32(1) / np.sqrt(mean + np.float32(1e-5))) * factors


@pytest.mark.parametrize("groups", [1, 48, 64, 65, 100, 512])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_overflows_at_the_extremes(groups: int, sign: int) -> None:
    most = most_scale(groups)
    shape = (1, groups)
    rows = Integers(
        np.full((*shape, 32), 15, np.uint8),
        np.full(shape, sign * most, np.int16),
        np.full(shape, sign * most, np.int16),
        np.ones(1, np.float32),
    )
    x = arithmetic.quantised(np.ones((1, 32 * groups), np.float32))
    assert x.scales.max() == 16383
    assert x.values.max() == 127
    wide = {name: getattr(x, name).astype(np.int64) for name in ("values", "scales", "sums")}
    inner = 15 * wide["values"].sum(axis=-1)
    first, second = inner * (sign * most * wide["scales"] >> 14), sign * most * wide["sums"]
    for product in (first, second, ((first >> 6) + (second >> 6)).cumsum(axis=-1)):
        assert np.abs(product).max() < 1 << 31
    total = ((first >> 6) + (second >> 6)).sum()
    found = arithmetic.multiplied(arithmetic.Matrix(rows), x)[0, 0]
    assert found == np.float32(total) * (np.float32(1) * (x.units[0] * np.float32(1 << 20)))


def test_no_value_passes_what_16_bits_have_room_for() -> None:
    """15 x 127 x 16, the sum of one accumulator of the vector kernel, needs values of at most 127."""
    chance = np.random.default_rng(4)
    sizes = 10.0 ** chance.uniform(-14, 6, (2000, 1))
    x = (chance.standard_normal((2000, 96)) * sizes * 10.0 ** chance.uniform(-6, 0, (2000, 96))).astype(np.float32)
    found = arithmetic.quantised(x)
    assert np.abs(found.values).max() == 127
    back = found.values * found.scales[..., None] * found.units[:, None, None].astype(float)
    steps = found.scales * found.units[:, None].astype(float)
    assert (np.abs(back.reshape(2000, 96) - x) <= 0.51 * steps.repeat(32, axis=1)).all()


def test_products_are_close_to_those_of_floats() -> None:
    chance = np.random.default_rng(9)
    weights = chance.standard_normal((64, 576)).astype("<f4")
    x = chance.standard_normal((5, 576)).astype(np.float32)
    rows = to_integers(ENCODINGS[0].to_planes(weights.view(np.uint8)))
    found = arithmetic.multiplied(arithmetic.Matrix(rows), arithmetic.quantised(x))
    wanted = x @ weights.T
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_exp_is_right_to_the_last_bits() -> None:
    x = np.linspace(-75, 75, 20001, dtype=np.float32)
    assert np.abs(arithmetic.exp(x) / np.exp(x.astype(np.float64)) - 1).max() < 1e-6
    assert arithmetic.exp(np.float32([-1e30, 0, 1e30])).tolist() == [
        *arithmetic.exp(np.float32([-75])), 1.0, *arithmetic.exp(np.float32([75]))
    ]  # fmt: skip


def test_a_vector_of_zeros_gives_zeros() -> None:
    for size in (0.0, 1e-35):
        x = arithmetic.quantised(np.full((1, 64), size, np.float32))
        found = arithmetic.multiplied(arithmetic.Matrix(matrix(16, 64, 1, 1)), x)
        assert not found.any()
