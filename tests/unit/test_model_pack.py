"""A packed model holds the weights of the file it was made from, where abi/model.h says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny_models

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError
from bareflow_gdb.model.dims import is_vector
from bareflow_gdb.model.encodings import ENCODINGS, Floats
from bareflow_gdb.model.networks import weights_of
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source
from bareflow_gdb.model.tiles import Integers, from_bytes, most_scale, to_bytes, to_integers

OWN = replace(tiny_models.DIMS, tied=False, kv_heads=4)
ODD = replace(tiny_models.DIMS, hidden=76, vocabulary=330, kv_heads=1)
"""As llama2.c's smallest model: rows and columns that fill no tile and no group."""


def packed(source: Path, out: Path) -> PackedFile:
    pack(read_source(source), out)
    return PackedFile.open(out)


def tolerance(weights: Floats, planes: int) -> Floats:
    """Of integer scales and minima, by row: half a step of each, times what they are multiplied with."""
    step = np.abs(weights).max(axis=1, keepdims=True) / most_scale(weights.shape[1] // 32 * planes)
    return step * (15 + 16) * (1 if planes == 1 else 2)


@pytest.mark.parametrize("kind", tiny_models.TYPES)
@pytest.mark.parametrize("dims", [tiny_models.DIMS, OWN], ids=["tied", "own output"])
def test_each_type_of_gguf_is_packed_as_ggufs_own_reader_sees_it(tmp_path: Path, kind: str, dims: object) -> None:
    path = tmp_path / "m.gguf"
    tiny_models.write_gguf(path, kind, dims)  # type: ignore[arg-type]
    file = packed(path, tmp_path / "m.bfm")
    source = read_source(path)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert set(tensors) == {part.name for part in file.model.parts if "weight" in part.name}
    for name, tensor in tensors.items():
        wanted = np.atleast_2d(gguf.dequantize(tensor.data, tensor.tensor_type))
        assert np.array_equal(source.floats(name), wanted), name
        found = weights_of(file, file.part(name))
        if is_vector(name):
            assert np.array_equal(found, wanted), name
            continue
        eighth = 0 if kind.startswith("Q") else np.abs(wanted).max() / 254
        assert (np.abs(found - wanted) <= tolerance(wanted, file.part(name).planes) + eighth).all(), name


def test_nibbles_of_gguf_go_over_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tiny_models.write_gguf(path, "Q8_0")
    name = "blk.1.ffn_down.weight"
    raw = next(tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)
    wanted = raw.reshape(64, 3, 34)[..., 2:].view(np.int8).astype(int)
    file = packed(path, tmp_path / "m.bfm")
    rows = file.rows(file.part(name))
    assert np.array_equal(rows.nibbles[:, :3] + 16 * rows.nibbles[:, 3:].astype(int) - 128, wanted)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("dims", [tiny_models.DIMS, OWN, ODD], ids=["tied", "own output", "odd sizes"])
def test_files_of_llama2c_have_the_same_weights(tmp_path: Path, version: int, dims: object) -> None:
    path = tmp_path / "m.bin"
    made = tiny_models.write_llama2c(path, version, dims)  # type: ignore[arg-type]
    file = packed(path, tmp_path / "m.bfm")
    assert replace(file.model.dims, epsilon=1e-5) == dims
    assert file.vocabulary is None
    source = read_source(path)
    for name, wanted in made.items():
        assert np.array_equal(source.floats(name), wanted), name
        found = weights_of(file, file.part(name))
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= np.abs(wanted).max() / 200, name


def test_a_tile_has_its_columns_in_words_and_its_rows_in_lanes() -> None:
    chance = np.random.default_rng(3)
    shape = (37, 3)
    rows = Integers(
        chance.integers(0, 16, (*shape, 32), np.uint8),
        chance.integers(-16383, 16384, shape, np.int16),
        chance.integers(-16383, 16384, shape, np.int16),
        chance.random(37, np.float32),
    )
    data = to_bytes(rows)
    assert len(data) == 3 * 3 * layouts.const("BF_MODEL_GROUP_BYTES")
    for row, group, column in [(0, 0, 0), (1, 0, 0), (15, 2, 31), (16, 1, 5), (36, 2, 18)]:
        begin = (row // 16 * 3 + group) * 320
        word = int.from_bytes(data[begin + column // 4 * 32 + row % 16 * 2 :][:2], "little")
        assert word >> 4 * (column % 4) & 15 == rows.nibbles[row, group, column]
        assert int.from_bytes(data[begin + 256 + row % 16 * 2 :][:2], "little", signed=True) == rows.scales[row, group]
        assert int.from_bytes(data[begin + 288 + row % 16 * 2 :][:2], "little", signed=True) == rows.minima[row, group]
    back = from_bytes(np.frombuffer(data, np.uint8), 3, rows.factors)
    for name in ("nibbles", "scales", "minima", "factors"):
        assert np.array_equal(getattr(back, name), getattr(rows, name)), name


def test_rows_of_zeros_and_of_next_to_nothing_are_zeros() -> None:
    raw = np.zeros((3, 128), np.float32)
    raw[1] = 1e-38
    raw[2, 5] = 1
    rows = to_integers(ENCODINGS[0].to_planes(raw.view(np.uint8)))
    assert not rows.floats(2)[:2].any()
    assert rows.floats(2)[2, 5] == pytest.approx(1, rel=1e-3)


def test_parts_are_aligned_and_nothing_but_zeros_is_between_them(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "m.gguf", "Q4_1")
    file = packed(tmp_path / "m.gguf", tmp_path / "m.bfm")
    parts = sorted(file.model.parts, key=lambda part: part.offset)
    for part, after in pairwise(parts):
        assert after.offset % 64 == 0
        gap = file.data[part.offset + part.bytes : after.offset]
        assert len(gap) < 64
        assert not any(gap)
    assert list(file.damages()) == []


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "m.gguf", "Q4_0")
    source = read_source(tmp_path / "m.gguf")
    for name in ("a", "b"):
        pack(source, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_positions_are_as_trained_or_as_asked(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "m.gguf")
    source = read_source(tmp_path / "m.gguf")
    assert pack(source, tmp_path / "a").positions == 96
    assert pack(source, tmp_path / "b", positions=7).positions == 7
    for wrong in (0, 97):
        with pytest.raises(UsageError, match="takes 1 to 96"):
            pack(source, tmp_path / "c", positions=wrong)
    assert not (tmp_path / "c").exists()


def test_a_packed_file_is_not_packed_again(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "m.gguf")
    pack(read_source(tmp_path / "m.gguf"), tmp_path / "m.bfm")
    with pytest.raises(UsageError, match="packed already"):
        read_source(tmp_path / "m.bfm")
