"""Model files that are damaged, cut off, hostile or of another kind: one sentence that names what, and no file."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source

DIMS = tiny_models.DIMS


def refusal(path: Path) -> str:
    """The sentence; nothing else happens, and memory stays small."""
    out = path.parent / "out" / "m.bfm"
    out.parent.mkdir(exist_ok=True)
    tracemalloc.start()
    try:
        with pytest.raises(BareflowError) as caught:
            pack(read_source(path), out)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert list(out.parent.iterdir()) == []
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    return said


def without(name: str) -> dict[str, Any]:
    return {"given": {key: value for key, value in tiny_models.weights().items() if key != name}}


def with_shape(name: str, rows: int, columns: int) -> dict[str, Any]:
    return {"given": {**tiny_models.weights(), name: np.zeros((rows, columns), np.float32)}}


def with_value(name: str, value: float) -> dict[str, Any]:
    made = tiny_models.weights()
    made[name][0, 3] = value
    return {"given": made}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"architecture": "qwen2"}, "architecture is qwen2"),
    "type": (
        {**without("blk.1.ffn_up.weight"), "raw": {"blk.1.ffn_up.weight": (np.zeros((96, 210), np.uint8), 14)}},
        "blk.1.ffn_up.weight is Q6_K",
    ),
    "missing": (without("blk.1.attn_k.weight"), "blk.1.attn_k.weight is missing"),
    "no embedding": (without("token_embd.weight"), "320 tokens for 1 rows|token_embd.weight is missing"),
    "shape": (with_shape("blk.0.attn_v.weight", 64, 64), "blk.0.attn_v.weight has 64 x 64"),
    "norm's shape": (with_shape("blk.0.ffn_norm.weight", 1, 32), "blk.0.ffn_norm.weight has 1 x 32"),
    "another tensor": (
        {"given": {**tiny_models.weights(), "blk.0.attn_q.bias": np.zeros((1, 64), np.float32)}},
        "attn_q.bias",
    ),
    "heads": ({"keys": {"llama.attention.head_count_kv": 3}}, "4 heads cannot share 3"),
    "no heads": ({"keys": {"llama.attention.head_count": 0}}, "heads is 0"),
    "layers": ({"keys": {"llama.block_count": 1 << 31}}, "layers is 2,147,483,648"),
    "more layers": ({"keys": {"llama.block_count": 3}}, "blk.2.attn_norm.weight is missing"),
    "no sizes": ({"keys": {"llama.embedding_length": None}}, "llama.embedding_length is missing"),
    "text for a number": (
        {"keys": {"llama.embedding_length": "64"}},
        "llama.embedding_length is missing or is not a number",
    ),
    "fraction": ({"keys": {"llama.block_count": 2.5}}, "llama.block_count is 2.5"),
    "not a number": ({"keys": {"llama.rope.freq_base": float("nan")}}, "rope base is nan"),
    "epsilon": ({"keys": {"llama.attention.layer_norm_rms_epsilon": -1.0}}, "epsilon of its norms"),
    "experts": ({"keys": {"llama.expert_count": 8}}, "mixture of experts"),
    "scaled positions": ({"keys": {"llama.rope.scaling.type": "yarn"}}, "positions are scaled"),
    "part of a head turned": ({"keys": {"llama.rope.dimension_count": 8}}, "rope.dimension_count is 8"),
    "other tokens": ({"keys": {"tokenizer.ggml.model": "llama"}}, "tokens are of the kind llama"),
    "other cuts": ({"pre": "llama-bpe"}, "cuts text as llama-bpe"),
    "token beyond": ({"keys": {"tokenizer.ggml.eos_token_id": 320}}, "end of a text is 320 of 320"),
    "infinite": (
        with_value("blk.0.ffn_up.weight", float("inf")),
        "blk.0.ffn_up.weight holds numbers that are not finite",
    ),
    "norm not a number": (with_value("output_norm.weight", float("nan")), "output_norm.weight holds numbers"),
    "terminal's words": ({"architecture": "a\x1b[31mb"}, r"architecture is a\?\[31mb"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_gguf_that_is_no_llama_model_is_refused_by_name(tmp_path: Path, name: str) -> None:
    words, wanted = WRONG[name]
    tiny_models.write_gguf(tmp_path / "m.gguf", **words)
    said = refusal(tmp_path / "m.gguf")
    assert re.search(wanted, said), said
    assert "\n" not in said


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_a_scale_that_is_not_finite_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.gguf"
    tiny_models.write_gguf(path, kind)
    offset = read_source(path).tensors["blk.1.attn_q.weight"].offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 2] = b"\x00\x7c"
    path.write_bytes(data)
    assert "blk.1.attn_q.weight holds numbers that are not finite" in refusal(path)


def test_a_gguf_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "m.gguf", "Q4_0")
    data = (tmp_path / "m.gguf").read_bytes()
    cut = tmp_path / "c.gguf"
    for size in (*range(0, 400, 7), len(data) // 2, len(data) - 33, len(data) - 4096):
        cut.write_bytes(data[:size])
        refusal(cut)


def place(data: bytes, key: bytes) -> int:
    """Where the value of a key begins: behind its type."""
    return data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key) + 4


HOSTILE: dict[str, Callable[[bytes], tuple[int, bytes]]] = {
    "version": lambda _: (4, b"\x04"),
    "big-endian": lambda _: (4, b"\0\0\0\x03"),
    "tensors": lambda _: (8, struct.pack("<Q", 1 << 63)),
    "keys": lambda _: (16, struct.pack("<Q", (1 << 64) - 1)),
    "name": lambda _: (24, struct.pack("<Q", 1 << 62)),
    "tokens": lambda data: (place(data, b"tokenizer.ggml.tokens") + 4, struct.pack("<Q", 1 << 60)),
    "types": lambda data: (place(data, b"tokenizer.ggml.token_type") + 4, struct.pack("<Q", 1 << 60)),
    "fewer types": lambda data: (place(data, b"tokenizer.ggml.token_type"), struct.pack("<IQ", 0, 320 * 4)),
    "array of arrays": lambda data: (place(data, b"tokenizer.ggml.tokens"), struct.pack("<I", 9)),
    "merge": lambda data: (data.index(b"th e"), b"q hz"),
    "kind": lambda data: (place(data, b"llama.block_count") - 4, struct.pack("<I", 99)),
    "axes": lambda data: (data.index(b"blk.0.attn_q.weight") + 19, struct.pack("<I", 1 << 31)),
    "rows": lambda data: (data.index(b"blk.0.attn_q.weight") + 19 + 12, struct.pack("<Q", 1 << 63)),
    "offset": lambda data: (data.index(b"blk.0.attn_q.weight") + 19 + 24, struct.pack("<Q", (1 << 64) - 32)),
    "unknown type": lambda data: (data.index(b"blk.0.attn_q.weight") + 19 + 20, struct.pack("<I", 4711)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_gguf_claims_is_checked_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.gguf"
    tiny_models.write_gguf(path, "Q8_0")
    data = bytearray(path.read_bytes())
    at, change = HOSTILE[name](bytes(data))
    data[at : at + len(change)] = change
    path.write_bytes(data)
    refusal(path)


@pytest.mark.parametrize("version", [0, 1])
def test_damaged_files_of_llama2c_are_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "m.bin"
    tiny_models.write_llama2c(path, version)
    data = path.read_bytes()
    for size in (0, 3, 10, 27, 255, len(data) - 4):
        path.write_bytes(data[:size])
        refusal(path)
    path.write_bytes(data + b"more")
    assert "its sizes ask for" in refusal(path)
    begin = 0 if version == 0 else 8
    for at in range(begin, begin + 28, 4):
        for value in (0, -1, 1 << 30, -(1 << 31)):
            path.write_bytes(data[:at] + struct.pack("<i", value) + data[at + 4 :])
            if (version, at, value) != (0, 20, -1):
                refusal(path)


def test_other_versions_and_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    tiny_models.write_llama2c(path, 2)
    assert "llama2.c in version 2" in refusal(path)
    path.write_bytes(b"\x7fELF" + bytes(1000))
    assert "neither GGUF nor a model of llama2.c" in refusal(path)


def test_what_is_no_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        for words in (["pack", str(path), "--out", str(tmp_path / "o")], ["info", str(path)], ["verify", str(path)]):
            assert cli.main(["model", *words]) == 2
            assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    tiny_models.write_gguf(folder / "m.gguf", "Q4_1")
    pack(read_source(folder / "m.gguf"), folder / "m.bfm")
    return (folder / "m.bfm").read_bytes()


@pytest.fixture
def packed(tmp_path: Path, whole: bytes) -> Path:
    (tmp_path / "m.bfm").write_bytes(whole)
    return tmp_path / "m.bfm"


def patched(path: Path, at: int, change: bytes, *, right_crc: bool = True) -> None:
    """Changes bytes of the head, and by default its CRC too, as someone hostile would."""
    data = bytearray(path.read_bytes())
    data[at : at + len(change)] = change
    if right_crc:
        parts = int.from_bytes(data[12:16], "little")
        size = layouts.size("bf_model_header") + min(parts, 4096) * layouts.size("bf_model_part")
        data[8:12] = bytes(4)
        data[8:12] = zlib.crc32(data[:size]).to_bytes(4, "little")
    path.write_bytes(data)


def header(name: str, value: int) -> tuple[int, bytes]:
    return layouts.offset("bf_model_header", name), struct.pack("<I", value)


def first_part(name: str, value: int) -> tuple[int, bytes]:
    return layouts.size("bf_model_header") + layouts.offset("bf_model_part", name), struct.pack("<I", value)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (header("magic", 1), "not a packed model"),
        (header("version", 2), "packed in version 2"),
        (header("parts", 0), "claims 0 parts"),
        (header("parts", 1 << 31), "claims 2,147,483,648 parts"),
        (header("parts", 4096), "cut off|CRC"),
        (header("parts", 3), "is missing"),
        (header("file_bytes", 100), "says that it has 100"),
        (header("layers", 0), "layers is 0"),
        (header("layers", 3), "blk.2.attn_norm.weight is missing"),
        (header("vocabulary", 1 << 20), "not what the model's sizes ask for"),
        (header("positions", 97), "97 positions of 96"),
        (header("eos", 320), "token 320"),
        (header("pieces", 77), "cuts text in a way"),
        (first_part("offset", 0), "outside the file"),
        (first_part("offset", 0xFFFFFFC0), "outside the file"),
        (first_part("bytes", 0xFFFFFFFF), "outside the file"),
        (first_part("columns", 1), "not what the model's sizes ask for"),
        (first_part("kind", 9), "not what the model's sizes ask for"),
    ],
)
def test_a_hostile_head_is_refused(packed: Path, change: tuple[int, bytes], wanted: str) -> None:
    patched(packed, *change)
    with pytest.raises(BadData, match=wanted) as caught:
        PackedFile.open(packed)
    assert str(caught.value).startswith(f"{packed}: ")


@pytest.mark.parametrize("name", ["tokens.text", "tokens.merges", "chat.after"])
@pytest.mark.parametrize("field", ["planes", "columns", "rows", "kind", "name"])
def test_a_part_of_free_size_is_only_that(packed: Path, name: str, field: str) -> None:
    names = [part.name for part in PackedFile.open(packed).model.parts]
    at = layouts.size("bf_model_header") + names.index(name) * layouts.size("bf_model_part")
    patched(packed, at + layouts.offset("bf_model_part", field), b"\x01\xff\xff\xff")
    with pytest.raises(BadData, match="is not one that a model has"):
        PackedFile.open(packed)


def test_a_damaged_head_is_told_by_its_crc(packed: Path) -> None:
    patched(packed, *header("hidden", 97), right_crc=False)
    with pytest.raises(BadData, match="head has CRC"):
        PackedFile.open(packed)


def test_a_packed_file_that_was_cut_off_or_grew_is_refused(packed: Path) -> None:
    data = packed.read_bytes()
    for size in (0, 1, 191, 192, 500, len(data) - 1):
        packed.write_bytes(data[:size])
        with pytest.raises(BareflowError):
            PackedFile.open(packed)
    packed.write_bytes(data + b"\0")
    with pytest.raises(BadData, match="joined with"):
        PackedFile.open(packed)


def test_every_damaged_part_is_named(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = PackedFile.open(packed)
    data = bytearray(packed.read_bytes())
    for part in file.model.parts:
        data[part.offset + part.bytes // 2] ^= 1
    packed.write_bytes(data)
    assert cli.main(["model", "verify", str(packed)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in said] == [part.name for part in file.model.parts]


def test_scales_that_could_overflow_are_found(packed: Path) -> None:
    file = PackedFile.open(packed)
    part = file.part("blk.1.ffn_gate.weight")
    data = bytearray(packed.read_bytes())
    data[part.offset + 256 : part.offset + 258] = b"\x00\x80"
    crc = zlib.crc32(data[part.offset : part.offset + part.bytes])
    packed.write_bytes(data)
    at = layouts.size("bf_model_header") + file.model.parts.index(part) * layouts.size("bf_model_part")
    patched(packed, at + layouts.offset("bf_model_part", "crc"), struct.pack("<I", crc))
    (said,) = PackedFile.open(packed).damages()
    assert "blk.1.ffn_gate.weight has a scale beyond" in said


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, packed: Path) -> None:
    before = packed.read_bytes()
    tiny_models.write_gguf(tmp_path / "n.gguf", **with_value("output_norm.weight", float("nan")))
    with pytest.raises(BadData, match="not finite"):
        pack(read_source(tmp_path / "n.gguf"), packed)
    assert packed.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_packing_takes_no_more_memory_for_a_larger_model(tmp_path: Path) -> None:
    peaks = []
    for vocabulary in (8_000, 32_000):
        dims = replace(DIMS, vocabulary=vocabulary)
        path = tmp_path / f"{vocabulary}.bin"
        tiny_models.write_llama2c(path, 1, dims)
        tracemalloc.start()
        pack(read_source(path), tmp_path / "m.bfm")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A float for each row of a matrix is kept to its end.
    assert peaks[1] - peaks[0] < 1 << 20


def test_packing_takes_no_more_memory_for_more_positions(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tiny_models.write_gguf(path, keys={"llama.context_length": 1 << 24})
    peaks = []
    for positions in (50_000, 200_000):
        tracemalloc.start()
        pack(read_source(path), tmp_path / "m.bfm", positions=positions)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1 << 20
    with pytest.raises(BadData, match="a guest has room for"):
        pack(replace(read_source(path), dims=replace(DIMS, context=1 << 30)), tmp_path / "m.bfm", positions=1 << 30)
