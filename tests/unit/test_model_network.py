"""The network on the host: wired as a Llama model, the same for one token and for many, and SmolLM2's known words."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from numpy.typing import NDArray

from bareflow_gdb.errors import UsageError
from bareflow_gdb.model.dims import Dims, layer_tensor
from bareflow_gdb.model.network import Network
from bareflow_gdb.model.networks import FloatNetwork, GuestNetwork
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source

IDS = [5, 80, 300, 17, 200, 17, 263, 99]
SMOLLM2 = Path(__file__).parents[2] / "build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = "Once upon a time, there was a little"
PROMPT_IDS = [6403, 1980, 253, 655, 28, 665, 436, 253, 1838]
ANSWER = [8180, 3365, 20391, 617, 5732, 288, 1238, 351, 874, 9173, 30, 2306, 761, 253, 2066, 9256]
ANSWER_CRC = 0xDEAF3530


def model(tmp_path: Path, kind: str = "F32", dims: Dims = tiny_models.DIMS) -> PackedFile:
    tiny_models.write_gguf(tmp_path / "m.gguf", kind, dims)
    pack(read_source(tmp_path / "m.gguf"), tmp_path / "m.bfm")
    return PackedFile.open(tmp_path / "m.bfm")


def plain_logits(dims: Dims, weights: tiny_models.Weights, ids: list[int]) -> NDArray[np.float64]:
    """A Llama model head by head and position by position, in doubles, with nothing of the suite's."""
    w = {name: values.astype(float) for name, values in weights.items()}
    size, share = dims.head_size, dims.heads // dims.kv_heads

    def norm(name: str, v: NDArray[np.float64]) -> NDArray[np.float64]:
        return v / np.sqrt((v * v).mean() + dims.epsilon) * w[name][0]

    def turned(v: NDArray[np.float64], position: int) -> NDArray[np.float64]:
        out = v.copy()
        for i in range(0, len(v), 2):
            angle = position / dims.rope_base ** (i % size / size)
            out[i] = v[i] * np.cos(angle) - v[i + 1] * np.sin(angle)
            out[i + 1] = v[i] * np.sin(angle) + v[i + 1] * np.cos(angle)
        return out

    streams = [w["token_embd.weight"][token] for token in ids]
    for layer in range(dims.layers):
        of = {name: w[layer_tensor(layer, name)] for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        normed = [norm(layer_tensor(layer, "attn_norm"), v) for v in streams]
        queries = [turned(of["attn_q"] @ v, at) for at, v in enumerate(normed)]
        keys = [turned(of["attn_k"] @ v, at) for at, v in enumerate(normed)]
        values = [of["attn_v"] @ v for v in normed]
        for at in range(len(ids)):
            mixed = np.zeros(dims.query_dim)
            for head in range(dims.heads):
                mine, theirs = (
                    slice(head * size, head * size + size),
                    slice(head // share * size, head // share * size + size),
                )
                scores = np.array([queries[at][mine] @ keys[seen][theirs] for seen in range(at + 1)]) / np.sqrt(size)
                chances = np.exp(scores - scores.max())
                mixed[mine] = sum(c * values[seen][theirs] for seen, c in enumerate(chances / chances.sum()))
            streams[at] = streams[at] + of["attn_output"] @ mixed
            v = norm(layer_tensor(layer, "ffn_norm"), streams[at])
            gate = w[layer_tensor(layer, "ffn_gate")] @ v
            up = w[layer_tensor(layer, "ffn_up")] @ v
            streams[at] = streams[at] + w[layer_tensor(layer, "ffn_down")] @ (gate / (1 + np.exp(-gate)) * up)
    return np.array([w[dims.output] @ norm("output_norm.weight", v) for v in streams])


@pytest.mark.parametrize(
    "dims",
    [
        tiny_models.DIMS,
        replace(tiny_models.DIMS, tied=False, kv_heads=4, heads=4),
        replace(tiny_models.DIMS, kv_heads=1),
    ],
    ids=["shared by two", "own output", "shared by all"],
)
def test_the_wiring_is_a_llama_models(tmp_path: Path, dims: Dims) -> None:
    weights = tiny_models.write_gguf(tmp_path / "m.gguf", "F32", dims)
    pack(read_source(tmp_path / "m.gguf"), tmp_path / "m.bfm")
    file = PackedFile.open(tmp_path / "m.bfm")
    wanted = plain_logits(dims, weights, IDS)
    exact = FloatNetwork(file, read_source(tmp_path / "m.gguf").floats).logits(IDS)
    assert np.abs(exact - wanted).max() < 1e-4 * np.abs(wanted).max()
    guest = GuestNetwork(file).logits(IDS)
    assert np.abs(guest - wanted).max() < 0.08 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q4_0"])
def test_many_tokens_at_once_have_the_bits_of_one_by_one(tmp_path: Path, kind: str) -> None:
    network = GuestNetwork(model(tmp_path, kind))
    at_once = network.logits(IDS)
    network.clear()
    one_by_one = np.concatenate([network.logits([token]) for token in IDS])
    network.clear()
    in_parts = np.concatenate([network.logits(IDS[:3]), network.logits(IDS[3:])])
    for other in (one_by_one, in_parts):
        assert np.array_equal(at_once.view(np.uint32), other.view(np.uint32))


def test_a_long_text_is_read_in_pieces_with_the_same_bits(tmp_path: Path) -> None:
    ids = [(7 * at) % 320 for at in range(40)]
    network = GuestNetwork(model(tmp_path))
    told: list[str] = []
    at_once = network.logits(ids, lambda what, _: told.append(what))
    assert told == [f"{first} of 40 tokens of the text read" for first in (0, 16, 32)]
    network.clear()
    one_by_one = np.concatenate([network.logits([token]) for token in ids])
    assert np.array_equal(at_once.view(np.uint32), one_by_one.view(np.uint32))
    token = next(GuestNetwork(network.file).answer(ids, 1))
    assert token == int(np.argmax(at_once[-1]))


def test_activations_are_those_of_each_kernel_in_the_guests_order(tmp_path: Path) -> None:
    network = GuestNetwork(model(tmp_path))
    found = list(network.activations(IDS[:2]))
    attention = (
        "attn_norm attn_q.input attn_q attn_k attn_v rope_q rope_k attention attn_output.input attn_output attn_add"
    )
    feed = "ffn_norm ffn_gate.input ffn_gate ffn_up swiglu ffn_down.input ffn_down ffn_add"
    of_layer = f"{attention} {feed}".split()
    names = [f"blk.{layer}.{name}" for layer in range(2) for name in of_layer]
    names = ["token_embd", *names, "output_norm", "token_embd.input", "logits"]
    assert [(each.position, each.name) for each in found] == [(at, name) for at in range(2) for name in names]
    network.clear()
    logits = network.logits(IDS[:2])
    assert np.array_equal([each.values for each in found if each.name == "logits"], logits)
    sizes = {each.name: len(each.values) for each in found}
    assert (sizes["blk.1.attn_k"], sizes["blk.1.swiglu"], sizes["blk.1.attention"]) == (32, 96, 64)
    by_kernel = {each.kernel for each in found}
    assert by_kernel == {"embed", "rmsnorm", "quantise", "matmul", "rope", "attention", "add", "swiglu"}
    normed, taken = (
        next(each.values for each in found if each.name == name) for name in ("output_norm", f"{names[0]}.input")
    )
    assert 0 < np.abs(taken - normed).max() < np.abs(normed).max() / 100, "what a matrix gets is its input in 8 bits"


def test_a_changed_matrix_is_the_first_activation_that_differs(tmp_path: Path) -> None:
    weights = tiny_models.weights()
    tiny_models.write_gguf(tmp_path / "a.gguf", given=weights)
    tiny_models.write_gguf(
        tmp_path / "b.gguf", given={**weights, "blk.1.ffn_up.weight": -weights["blk.1.ffn_up.weight"]}
    )
    networks = []
    for name in ("a", "b"):
        pack(read_source(tmp_path / f"{name}.gguf"), tmp_path / f"{name}.bfm")
        networks.append(GuestNetwork(PackedFile.open(tmp_path / f"{name}.bfm")))
    pairs = zip(*(network.activations(IDS) for network in networks), strict=True)
    first = next(left for left, right in pairs if not np.array_equal(left.values, right.values))
    assert (first.position, first.name) == (0, "blk.1.ffn_up")


def test_greedy_takes_the_likeliest_and_stops(tmp_path: Path) -> None:
    file = model(tmp_path)
    found = list(GuestNetwork(file).answer(IDS, 6))
    assert len(found) == 6
    again: Network = GuestNetwork(file)
    assert found[0] == int(np.argmax(again.logits(IDS)[-1]))
    assert found[1] == int(np.argmax(again.logits([found[0]])[-1]))
    assert list(GuestNetwork(file).answer(IDS, 6, stop=found[2])) == found[: found.index(found[2])]


def test_the_crc_is_that_of_all_logits_that_were_chosen_from(tmp_path: Path) -> None:
    network = GuestNetwork(model(tmp_path))
    found = list(network.answer(IDS, 3))
    again = GuestNetwork(network.file)
    crc = 0
    for ids in (IDS, found[:1], found[1:2]):
        crc = zlib.crc32(again.logits(ids)[-1].tobytes(), crc)
    assert network.crc == crc


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    network = GuestNetwork(model(tmp_path))
    with pytest.raises(UsageError, match="token 320 is not one of 320"):
        network.logits([320])
    with pytest.raises(UsageError, match="97 tokens and this model is packed for 96"):
        network.logits([1] * 97)


@pytest.mark.skipif(not SMOLLM2.exists(), reason="`make model` brings SmolLM2, 98 MB")
def test_smollm2_says_what_it_is_known_to_say(tmp_path: Path) -> None:
    pack(read_source(SMOLLM2), tmp_path / "m.bfm")
    file = PackedFile.open(tmp_path / "m.bfm")
    assert list(file.damages()) == []
    words = file.vocabulary
    assert words is not None
    assert words.encode(PROMPT) == PROMPT_IDS
    network = GuestNetwork(file)
    assert list(network.answer(PROMPT_IDS, len(ANSWER))) == ANSWER
    assert network.crc == ANSWER_CRC
    assert words.decode(ANSWER).startswith(" girl named Emma who loved to play")
