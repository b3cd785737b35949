"""How does a model file of others become one that the guest uses in place?

Everything is read and written a few rows at a time: memory does not grow with the model.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import BY_UMASK, replacing
from bareflow_gdb.model.chat import chat_tokens
from bareflow_gdb.model.dims import Dims
from bareflow_gdb.model.encodings import Plane
from bareflow_gdb.model.gguf_file import MAGIC as GGUF_MAGIC
from bareflow_gdb.model.gguf_file import read_gguf
from bareflow_gdb.model.llama2c import read_llama2c
from bareflow_gdb.model.packed import (
    Model,
    Part,
    aligned,
    encode,
    free_part,
    head_bytes,
    is_packed,
    table_parts,
    tensor_parts,
)
from bareflow_gdb.model.progress import Progress, silent
from bareflow_gdb.model.source import Source, about, mapped
from bareflow_gdb.model.tiles import ROWS, to_bytes, to_integers
from bareflow_gdb.model.vocabulary import Vocabulary

POSITIONS = 1024
"""Of a model that was trained for more: a position costs the guest memory for keys and values."""
_WEIGHTS_AT_ONCE = 1 << 18

Pieces = Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class _Planned:
    """A part of known size, and how its bytes are made."""

    part: Part
    pieces: Pieces


def read_source(path: Path) -> Source:
    """A model of others, by its first bytes. Raises UsageError, Unreachable, BadData."""
    with about(path):
        data = mapped(path)
        if is_packed(data[:4]):
            raise UsageError(f"{path} is packed already; `bareflow model info` shows what is in it")
        return read_gguf(path, data) if data[:4] == GGUF_MAGIC else read_llama2c(path, data)


def pack(source: Source, out: Path, *, positions: int | None = None, progress: Progress = silent) -> Model:
    """Writes the packed file and gives its head. Raises BadData, UsageError, CannotWrite."""
    context = source.dims.context
    if positions is not None and not 1 <= positions <= context:
        raise UsageError(f"this model was trained for {context:,} positions; --positions takes 1 to {context:,}")
    with about(source.path):
        planned, model = _plan(source, positions or min(context, POSITIONS))
    with about(source.path), replacing(out, BY_UMASK) as unfinished, unfinished.open("r+b") as file:
        os.truncate(file.fileno(), model.file_bytes)
        parts = []
        for item in planned:
            progress(item.part.name, item.part.offset / model.file_bytes)
            parts.append(_write(file, item))
        model = replace(model, parts=tuple(parts))
        file.seek(0)
        file.write(encode(model))
    progress("done", 1.0)
    return model


def _plan(source: Source, positions: int) -> tuple[list[_Planned], Model]:
    """Every part with its place, and the head without CRCs."""
    words = source.vocabulary
    model = Model(
        source.name,
        source.dims,
        positions,
        words.pieces if words else "NONE",
        words.bos if words else None,
        words.eos if words else None,
        words.add_bos if words else False,
        (),
    )
    planned = [*_tables(source, model), *_tensors(source)]
    at = aligned(head_bytes(len(planned)))
    placed = []
    for item in planned:
        placed.append(replace(item, part=replace(item.part, offset=at)))
        at = aligned(at + item.part.bytes)
    most = layouts.const("BF_MODEL_MOST_BYTES")
    if at > most or len(placed) > layouts.const("BF_MODEL_MOST_PARTS"):
        raise BadData(f"it would have {at:,} bytes packed and a guest has room for {most:,}; take a smaller model")
    return placed, replace(model, parts=tuple(item.part for item in placed), file_bytes=at)


def _write(file: IO[bytes], item: _Planned) -> Part:
    """Writes a part to its place; it with its CRC."""
    file.seek(item.part.offset)
    crc = written = 0
    for piece in item.pieces():
        crc = zlib.crc32(piece, crc)
        written += file.write(piece)
    assert written == item.part.bytes, item.part.name
    return replace(item.part, crc=crc)


def _tensors(source: Source) -> Iterator[_Planned]:
    for part in tensor_parts(source.dims):
        if not part.planes:
            yield _Planned(part, partial(_vector, source, part.name))
            continue
        whole = replace(part, planes=source.tensors[part.name].encoding.planes)
        yield _Planned(replace(whole, bytes=whole.matrix_bytes), partial(_matrix, source, whole))


def _vector(source: Source, name: str) -> Iterator[bytes]:
    yield source.floats(name).astype("<f4").tobytes()


def _matrix(source: Source, part: Part) -> Iterator[bytes]:
    """Tiles, then the factor of each row."""
    encoding = source.tensors[part.name].encoding
    factors = np.zeros(part.tiles * ROWS, "<f4")
    step = max(1, _WEIGHTS_AT_ONCE // (part.columns * ROWS)) * ROWS
    for first in range(0, part.rows, step):
        planes = encoding.to_planes(source.raw(part.name, first, min(step, part.rows - first)))
        _require_finite(planes, part.name)
        rows = to_integers(planes)
        factors[first : first + len(rows.factors)] = rows.factors
        yield to_bytes(rows)
    yield factors.tobytes()


def _require_finite(planes: tuple[Plane, ...], name: str) -> None:
    for plane in planes:
        if not (np.isfinite(plane.scales).all() and np.isfinite(plane.minima).all()):
            raise BadData(f"its tensor {name} holds numbers that are not finite; the file is damaged, get it again")


def _tables(source: Source, model: Model) -> Iterator[_Planned]:
    """What is no tensor: positions, tokens, words of a chat."""
    rope, *tables = table_parts(model)
    yield _Planned(rope, partial(rope_table, source.dims, model.positions))
    words = source.vocabulary
    if words is None:
        return
    ends = np.cumsum([len(text) for text in words.texts], dtype=np.uint64)
    made = {"tokens.ends": ends.astype("<u4").tobytes(), "tokens.types": words.types}
    for part in tables:
        yield _known(part, made[part.name])
    free = {"tokens.text": b"".join(words.texts), "tokens.merges": _merge_table(words)}
    chat = chat_tokens(source.chat_template, words)
    if chat is not None:
        free["chat.before"], free["chat.after"] = (np.array(ids, "<u4").tobytes() for ids in chat)
    for name, data in free.items():
        yield _known(free_part(name, len(data)), data)


def _known(part: Part, data: bytes) -> _Planned:
    return _Planned(part, lambda: iter([data]))


def _merge_table(words: Vocabulary) -> bytes:
    """Ordered for a binary search; of two merges of one pair the first counts."""
    ranked: dict[tuple[int, int], tuple[int, int]] = {}
    for rank, merge in enumerate(words.merges):
        ranked.setdefault((merge.left, merge.right), (rank, merge.joined))
    table = [(*pair, *ranked[pair]) for pair in sorted(ranked)]
    return np.array(table, "<u4").reshape(-1, 4).tobytes()


def rope_table(dims: Dims, positions: int) -> Iterator[bytes]:
    """Cosine and sine of every position and pair of a head."""
    pairs = np.arange(0, dims.head_size, 2) / dims.head_size
    step = _WEIGHTS_AT_ONCE // dims.head_size
    for first in range(0, positions, step):
        angles = np.arange(first, min(first + step, positions))[:, None] * dims.rope_base**-pairs
        yield np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype("<f4").tobytes()
