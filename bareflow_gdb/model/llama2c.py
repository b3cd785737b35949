"""What model is in a file of llama2.c, of version 0 or 1? Float weights without tokens.

Source: export.py of llama2.c. Neither version has a rope base or an epsilon: its program has 10,000 and 1e-5.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from bareflow_gdb.errors import BadData
from bareflow_gdb.model.dims import Dims, layer_tensor
from bareflow_gdb.model.encodings import ENCODINGS
from bareflow_gdb.model.source import Source, Tensor, checked

MAGIC = b"24ka"
"""0x616B3432, of version 1 and later."""
_SIZES = struct.Struct("<7i")
_HEADER_BYTES = 256
_F32 = ENCODINGS[0]
_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
_FEED = ("ffn_gate", "ffn_down", "ffn_up")
"""In the files' order: w1, w2, w3."""
_TURNS = "cosines and sines"


def read_llama2c(path: Path, data: mmap.mmap) -> Source:
    """Raises BadData for what is none of these, or not whole."""
    start = data[:_HEADER_BYTES]
    if start[:4] == MAGIC:
        version = int.from_bytes(start[4:8], "little")
        if version != 1:
            raise BadData(f"it is a file of llama2.c in version {version}; versions 0 and 1 are read")
        values, shared, begin = start[8:], start[36:37] == b"\1", _HEADER_BYTES
    else:
        version, values, shared, begin = 0, start, True, _SIZES.size
    if len(values) < _SIZES.size:
        raise BadData(f"it has {len(data)} bytes, too few for a model of llama2.c; give a GGUF file or a whole .bin")
    dim, hidden, layers, heads, kv_heads, vocabulary, context = _SIZES.unpack_from(values)
    if version == 0:
        shared, vocabulary = vocabulary > 0, abs(vocabulary)
    size = dim // heads if heads > 0 else 0
    dims = Dims(dim, hidden, layers, heads, kv_heads, size, vocabulary, context, 10000.0, 1e-5, shared)
    try:
        dims.checked()
    except BadData as error:
        raise BadData(f"it is neither GGUF nor a model of llama2.c of version 0 or 1: {error}") from error
    tensors, end = _placed(dims, version, begin)
    if end != len(data):
        raise BadData(f"its sizes ask for {end:,} bytes and it has {len(data):,}; it was cut off or is damaged")
    return checked(Source(path, f"llama2.c version {version}", path.stem, dims, tensors, data, None))


def _placed(dims: Dims, version: int, at: int) -> tuple[dict[str, Tensor], int]:
    """The tensors, and where the file must end."""
    shapes = dims.shapes()

    def of_layers(*names: str) -> list[str]:
        return [layer_tensor(layer, name) for name in names for layer in range(dims.layers)]

    last = [] if dims.tied else ["output.weight"]
    order: list[str]
    if version == 1:
        norms = [*of_layers("attn_norm", "ffn_norm"), "output_norm.weight"]
        order = [*norms, "token_embd.weight", *of_layers(*_ATTENTION, *_FEED), *last]
    else:
        attention = ["token_embd.weight", *of_layers("attn_norm", *_ATTENTION)]
        order = [*attention, *of_layers("ffn_norm", *_FEED), "output_norm.weight", _TURNS, *last]
    found: dict[str, Tensor] = {}
    for name in order:
        if name == _TURNS:
            # Cosines and sines, which readers compute.
            at += 4 * dims.context * dims.head_size
            continue
        tensor = Tensor(_F32, *shapes[name], at)
        found[name] = tensor
        at += tensor.bytes
    return found, at
