"""How does the small model become a file that the suite reads? GGUF, of the types in SmolLM2's: Q4_1 and Q8_0."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.model.dims import Dims, is_vector
from bareflow_gdb.model.gguf_tokens import written
from bareflow_gdb.model.vocabulary import NORMAL, Vocabulary

NAME = "BareFlow small stories"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
_CONTROL = 3
"""What GGUF calls a token that only stands for itself."""


def is_nibbles(name: str) -> bool:
    """The matrices of the feed, two thirds of all weights, have 4 bits each; the others 8."""
    return "ffn_" in name and not is_vector(name)


def write_gguf(path: Path, dims: Dims, words: Vocabulary, weights: dict[str, NDArray[np.float32]]) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_license("mit")
    writer.add_block_count(dims.layers)
    writer.add_context_length(dims.context)
    writer.add_embedding_length(dims.dim)
    writer.add_feed_forward_length(dims.hidden)
    writer.add_head_count(dims.heads)
    writer.add_head_count_kv(dims.kv_heads)
    writer.add_layer_norm_rms_eps(dims.epsilon)
    writer.add_rope_freq_base(dims.rope_base)
    _add_tokens(writer, words)
    for name, weight in weights.items():
        kind = gguf.GGMLQuantizationType.Q4_1 if is_nibbles(name) else gguf.GGMLQuantizationType.Q8_0
        kind = gguf.GGMLQuantizationType.F32 if is_vector(name) else kind
        writer.add_tensor(name, gguf.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: gguf.GGUFWriter, words: Vocabulary) -> None:
    plain = [kind == NORMAL for kind in words.types]
    names = [written(text) if normal else text.decode() for text, normal in zip(words.texts, plain, strict=True)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(names)
    writer.add_token_types([NORMAL if normal else _CONTROL for normal in plain])
    writer.add_token_merges([f"{names[merge.left]} {names[merge.right]}" for merge in words.merges])
    writer.add_bos_token_id(words.bos)
    writer.add_eos_token_id(words.eos)
    writer.add_add_bos_token(words.add_bos)
    writer.add_chat_template(TEMPLATE)
