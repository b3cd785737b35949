"""Which models do tests make? Small ones of seeded random weights, as GGUF and as files of llama2.c."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.model.dims import Dims, is_vector, layer_tensor
from bareflow_gdb.model.gguf_tokens import written

DIMS = Dims(64, 96, 2, 4, 2, 16, 320, 96, 10000.0, 1e-5, True)
TYPES = {
    "F32": gguf.GGMLQuantizationType.F32,
    "F16": gguf.GGMLQuantizationType.F16,
    "Q4_0": gguf.GGMLQuantizationType.Q4_0,
    "Q4_1": gguf.GGMLQuantizationType.Q4_1,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = (b"t h", b"th e", b"\xc4\xa0 the", b"e r", b"1 2", b"\xc3\xa9 x")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>system\nYou are a the<|im_end|>\n' }}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
)

Weights = dict[str, NDArray[np.float32]]


def weights(dims: Dims = DIMS, seed: int = 1) -> Weights:
    """A tensor for each shape, of such sizes that logits differ."""
    chance = np.random.default_rng(seed)
    made = {}
    for name, (rows, columns) in dims.shapes().items():
        values = chance.standard_normal((rows, columns)).astype(np.float32)
        made[name] = 1 + values / 10 if is_vector(name) else values * np.float32(1.5 / columns**0.5)
    return made


def tokens(count: int) -> tuple[list[str], list[int], list[str]]:
    """Texts as GGUF writes them, types, merges: three special ones, the 256 bytes, what is merged, and padding."""
    texts = [*SPECIAL, *(written(bytes([byte])) for byte in range(256))]
    types = [3] * len(SPECIAL) + [1] * 256
    merges = [merge.decode("utf-8") for merge in MERGES[:5]]
    for merge in merges:
        texts.append(merge.replace(" ", ""))
        types.append(1)
    texts.append("<whole>")
    types.append(4)
    while len(texts) < count:
        texts.append(f"<unused{len(texts)}>")
        types.append(5)
    return texts, types, merges


def write_gguf(
    path: Path,
    kind: str = "F32",
    dims: Dims = DIMS,
    *,
    seed: int = 1,
    given: Weights | None = None,
    raw: Mapping[str, tuple[NDArray[np.uint8], int]] | None = None,
    keys: Mapping[str, Any] | None = None,
    architecture: str = "llama",
    pre: str = "smollm",
) -> Weights:
    """Writes a model whose matrices are all of one type; `raw` gives tensors as bytes with a type, `keys` others.

    A key whose value is None is left out. The weights that were written.
    """
    made = weights(dims, seed) if given is None else given
    writer = gguf.GGUFWriter(path, architecture)
    texts, types, merges = tokens(dims.vocabulary)
    values: dict[str, Any] = {
        "general.name": "tiny",
        "llama.block_count": dims.layers,
        "llama.context_length": dims.context,
        "llama.embedding_length": dims.dim,
        "llama.feed_forward_length": dims.hidden,
        "llama.attention.head_count": dims.heads,
        "llama.attention.head_count_kv": dims.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": dims.epsilon,
        "llama.rope.freq_base": dims.rope_base,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
        **(keys or {}),
    }
    for key, value in values.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif value is not None:
            writer.add_uint32(key, value)
    writer.add_array("tokenizer.ggml.tokens", texts)
    writer.add_array("tokenizer.ggml.token_type", types)
    writer.add_array("tokenizer.ggml.merges", merges)
    for name, values_of in made.items():
        wanted = TYPES["F32" if is_vector(name) else kind]
        shaped = values_of[0] if is_vector(name) else values_of
        writer.add_tensor(name, gguf.quantize(shaped, wanted), raw_dtype=wanted)
    for name, (data, number) in (raw or {}).items():
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType(number))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def write_llama2c(path: Path, version: int, dims: Dims = DIMS, *, seed: int = 1) -> Weights:
    """Writes a file as export.py of llama2.c does."""
    dims = replace(dims, epsilon=1e-5, rope_base=10000.0)
    made = weights(dims, seed)
    layers = range(dims.layers)
    sizes = [dims.dim, dims.hidden, dims.layers, dims.heads, dims.kv_heads, dims.vocabulary, dims.context]

    def of(*names: str) -> list[NDArray[np.float32]]:
        return [made[layer_tensor(layer, name)] for name in names for layer in layers]

    attention, feed = ("attn_q", "attn_k", "attn_v", "attn_output"), ("ffn_gate", "ffn_down", "ffn_up")
    last = [] if dims.tied else [made["output.weight"]]
    if version == 0:
        sizes[5] = dims.vocabulary if dims.tied else -dims.vocabulary
        head = struct.pack("<7i", *sizes)
        turns = np.zeros((dims.context, dims.head_size), np.float32)
        parts = [made["token_embd.weight"], *of("attn_norm", *attention), *of("ffn_norm", *feed)]
        parts += [made["output_norm.weight"], turns, *last]
    else:
        head = struct.pack("<Ii7iB", 0x616B3432, version, *sizes, dims.tied).ljust(256, b"\0")
        parts = [*of("attn_norm", "ffn_norm"), made["output_norm.weight"], made["token_embd.weight"]]
        parts += [*of(*attention, *feed), *last]
    path.write_bytes(head + b"".join(part.astype("<f4").tobytes() for part in parts))
    return made
