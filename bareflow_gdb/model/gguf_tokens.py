"""Which tokens are in a GGUF file's keys? GPT-2's byte-level BPE, as it is written there."""

from __future__ import annotations

from functools import cache
from typing import Any

from bareflow_gdb import foreign
from bareflow_gdb.errors import BadData
from bareflow_gdb.model.vocabulary import NORMAL, SPECIAL, WHOLE, Merge, Vocabulary

_CUTS = {"gpt-2": "GPT2", "default": "GPT2", "smollm": "DIGITS"}
"""`tokenizer.ggml.pre`: how the text is cut."""
_TYPES = {1: NORMAL, 4: WHOLE}
"""`tokenizer.ggml.token_type`; all others stand for themselves only: unknown, control, unused, byte."""


def vocabulary(values: dict[str, Any], count: int) -> Vocabulary | None:
    """The tokens of a model with `count` of them; None when the file has none. Raises BadData."""
    kind = _text(values, "model")
    if not kind or kind == "none":
        return None
    if kind != "gpt2":
        raise BadData(f"its tokens are of the kind {kind}, and gpt2 (byte-level BPE) is read; take another model")
    pre = _text(values, "pre") or "default"
    if pre not in _CUTS:
        raise BadData(f"it cuts text as {pre}, and {', '.join(_CUTS)} are read; take another model")
    names = _texts(values, "tokens")
    types = values.get("tokenizer.ggml.token_type", [1] * len(names))
    if len(names) != count or not isinstance(types, list | tuple) or len(types) != count:
        raise BadData(f"it has {len(names):,} tokens for {count:,} rows of its embedding; the file is damaged")
    kinds = bytes(_TYPES.get(number, SPECIAL) if isinstance(number, int) else SPECIAL for number in types)
    texts = tuple(_bytes_of(name) if kind == NORMAL else name for name, kind in zip(names, kinds, strict=True))
    ids: dict[bytes, int] = {}
    for token, name in enumerate(names):
        ids.setdefault(name, token)
    made = Vocabulary(
        texts,
        kinds,
        tuple(_merge(name, ids) for name in _texts(values, "merges")),
        _CUTS[pre],
        _id(values, "bos"),
        _id(values, "eos"),
        values.get("tokenizer.ggml.add_bos_token") is True,
    )
    return made.checked()


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(f"tokenizer.ggml.{key}", b"")
    return foreign.sentence(value.decode("utf-8", "replace")[:40]) if isinstance(value, bytes) else "?"


def _texts(values: dict[str, Any], key: str) -> list[bytes]:
    found = values.get(f"tokenizer.ggml.{key}", [])
    if not isinstance(found, list):
        raise BadData(f"its key tokenizer.ggml.{key} is not a list of texts; the file is damaged")
    return found


def _id(values: dict[str, Any], which: str) -> int | None:
    found = values.get(f"tokenizer.ggml.{which}_token_id")
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _merge(name: bytes, ids: dict[bytes, int]) -> Merge:
    left, _, right = name.partition(b" ")
    try:
        return Merge(ids[left], ids[right], ids[left + right])
    except KeyError:
        shown = foreign.sentence(name[:40].decode("utf-8", "replace"))
        raise BadData(f"its merge {shown!r} is of tokens that it does not have; the file is damaged") from None


@cache
def _alphabet() -> dict[int, int]:
    """GPT-2's character for each byte that has no shape of its own → that byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = [byte for byte in range(256) if byte not in plain]
    return {**{byte: byte for byte in plain}, **{256 + at: byte for at, byte in enumerate(shifted)}}


def _bytes_of(name: bytes) -> bytes:
    alphabet = _alphabet()
    text = name.decode("utf-8", "replace")
    return bytes(alphabet.get(ord(character), ord("?")) for character in text)


def written(text: bytes) -> str:
    """The other way: a token's bytes as GGUF writes them."""
    back = {byte: character for character, byte in _alphabet().items()}
    return "".join(chr(back[byte]) for byte in text)
