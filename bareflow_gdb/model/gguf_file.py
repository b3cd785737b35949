"""What model is in a GGUF file? Its sizes, where its tensors lie, its tokens.

The package `gguf` reads these files too, but loops as often as a damaged count says; here each count is held against
the bytes that are left. Source: docs/gguf.md of ggml, versions 2 and 3.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from bareflow_gdb import foreign
from bareflow_gdb.errors import BadData
from bareflow_gdb.model.dims import Dims
from bareflow_gdb.model.encodings import ENCODINGS, FOREIGN
from bareflow_gdb.model.gguf_tokens import vocabulary
from bareflow_gdb.model.source import Source, Tensor, checked

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEYS, _MOST_TENSORS, _MOST_ITEMS, _MOST_TEXT, _MOST_AXES = 4096, 4096, 1 << 21, 1 << 20, 4
_MOST_HEAD = 64 << 20
_CUT_OFF = "the file was cut off or is damaged, get it again"


class _Cursor:
    """Reads on from a place; never beyond the end."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self._data = data
        self.at = at

    def take(self, size: int, what: str) -> bytes:
        if size > len(self._data) - self.at:
            raise BadData(f"its {what} needs {size:,} bytes at {self.at:,} of {len(self._data):,}; {_CUT_OFF}")
        self.at += size
        if self.at > _MOST_HEAD:
            raise BadData(f"its keys and tensor list have more than {_MOST_HEAD:,} bytes; {_CUT_OFF}")
        return self._data[self.at - size : self.at]

    def number(self, code: str, what: str) -> Any:
        layout = struct.Struct(f"<{code}")
        return layout.unpack(self.take(layout.size, what))[0]

    def text(self, what: str) -> bytes:
        size = self.number("Q", what)
        if size > _MOST_TEXT:
            raise BadData(f"its {what} claims {size:,} bytes; {_CUT_OFF}")
        return self.take(size, what)

    def array(self, what: str) -> Any:
        kind, count = self.number("I", what), self.number("Q", what)
        if count > _MOST_ITEMS:
            raise BadData(f"its {what} claims {count:,} values; {_CUT_OFF}")
        if kind == _STRING:
            return [self.text(what) for _ in range(count)]
        code = _SCALARS.get(kind)
        if code is None:
            raise BadData(f"its {what} is an array of type {kind}, which GGUF does not have; {_CUT_OFF}")
        layout = struct.Struct(f"<{count}{code}")
        return layout.unpack(self.take(layout.size, what))

    def value(self, kind: int, what: str) -> Any:
        if kind == _ARRAY:
            return self.array(what)
        if kind == _STRING:
            return self.text(what)
        if kind not in _SCALARS:
            raise BadData(f"its {what} is of type {kind}, which GGUF does not have; {_CUT_OFF}")
        return self.number(_SCALARS[kind], what)


def read_gguf(path: Path, data: mmap.mmap) -> Source:
    """Raises BadData for what is no Llama model in GGUF, or not a whole one."""
    cursor = _Cursor(data, len(MAGIC))
    version = cursor.number("I", "version")
    if version not in _VERSIONS:
        order = " of big-endian numbers" if version.to_bytes(4, "little") in (b"\0\0\0\2", b"\0\0\0\3") else ""
        raise BadData(f"it is GGUF of version {version}{order}; versions 2 and 3, little-endian, are read")
    tensors, keys = cursor.number("Q", "number of tensors"), cursor.number("Q", "number of keys")
    for count, most, what in ((tensors, _MOST_TENSORS, "tensors"), (keys, _MOST_KEYS, "keys")):
        if count > most:
            raise BadData(f"it claims {count:,} {what}; {_CUT_OFF}")
    values = _keys(cursor, keys)
    dims = _dims(values)
    found = _tensors(cursor, tensors)
    start = _after_padding(cursor.at, values)
    placed = {name: Tensor(t.encoding, t.rows, t.columns, start + t.offset) for name, t in found.items()}
    tied = "output.weight" not in placed
    sizes = Dims(**dims, vocabulary=placed["token_embd.weight"].rows if "token_embd.weight" in placed else 1, tied=tied)
    words = vocabulary(values, sizes.vocabulary)
    name = values.get("general.name", path.stem.encode())
    template = values.get("tokenizer.chat_template", b"")
    source = Source(path, f"GGUF {version}", _as_text(name), sizes.checked(), placed, data, words, _as_text(template))
    return checked(source)


def _keys(cursor: _Cursor, count: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _ in range(count):
        name = cursor.text("key").decode("utf-8", "replace")
        values[name] = cursor.value(cursor.number("I", "key"), f"key {foreign.sentence(name[:80])}")
    return values


def _tensors(cursor: _Cursor, count: int) -> dict[str, Tensor]:
    found = {}
    for _ in range(count):
        name = cursor.text("tensor list").decode("utf-8", "replace")
        what = f"tensor {foreign.sentence(name[:80])}"
        axes = cursor.number("I", what)
        if not 1 <= axes <= _MOST_AXES:
            raise BadData(f"its {what} has {axes} axes; {_CUT_OFF}")
        shape = [cursor.number("Q", what) for _ in range(axes)]
        kind, offset = cursor.number("I", what), cursor.number("Q", what)
        if kind not in ENCODINGS:
            known = ", ".join(encoding.name for encoding in ENCODINGS.values())
            raise BadData(
                f"its {what} is {FOREIGN.get(kind, f'of type {kind}')}, and {known} are read; take such a file"
            )
        if len(shape) > 2 and max(shape[2:]) > 1:
            raise BadData(f"its {what} has {axes} axes, and a Llama model's have two; take another model")
        found[name] = Tensor(ENCODINGS[kind], shape[1] if axes > 1 else 1, shape[0], offset)
    return found


def _after_padding(at: int, values: dict[str, Any]) -> int:
    step = values.get("general.alignment", 32)
    if not isinstance(step, int) or not 1 <= step <= 1 << 20:
        raise BadData(f"its alignment is no number of bytes; {_CUT_OFF}")
    return -(-at // step) * step


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _dims(values: dict[str, Any]) -> dict[str, Any]:
    """The sizes by the keys of the architecture."""
    architecture = _as_text(values.get("general.architecture"))
    if architecture != "llama":
        shown = foreign.sentence(architecture[:40]) or "not named"
        raise BadData(f"its architecture is {shown}, and llama is read; take a Llama model")

    def number(key: str, default: int | float | None = None) -> Any:
        found = values.get(f"llama.{key}", default)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise BadData(f"its key llama.{key} is missing or is not a number; take a whole Llama model")
        return found

    def whole(key: str, default: int | None = None) -> int:
        found = number(key, default)
        if not isinstance(found, int):
            raise BadData(f"its key llama.{key} is {found}, which is not a whole number; {_CUT_OFF}")
        return found

    heads, dim = whole("attention.head_count"), whole("embedding_length")
    size = whole("attention.key_length", dim // max(heads, 1))
    if values.get("llama.expert_count"):
        raise BadData("it is a mixture of experts, which is not read; take a plain Llama model")
    scaling = _as_text(values.get("llama.rope.scaling.type", b"none"))
    if scaling != "none":
        raise BadData(f"its positions are scaled ({foreign.sentence(scaling[:40])}), which is not read; take another")
    for key in ("rope.dimension_count", "attention.value_length"):
        if whole(key, size) != size:
            raise BadData(f"its {key} is {whole(key)} and its heads have {size} values; take another model")
    return {
        "dim": dim,
        "hidden": whole("feed_forward_length"),
        "layers": whole("block_count"),
        "heads": heads,
        "kv_heads": whole("attention.head_count_kv", heads),
        "head_size": size,
        "context": whole("context_length"),
        "rope_base": float(number("rope.freq_base", 10000.0)),
        "epsilon": float(number("attention.layer_norm_rms_epsilon")),
    }
