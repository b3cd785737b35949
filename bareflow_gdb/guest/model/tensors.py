"""Which tensors has a language model in the guest, and which values are in one? Weights, keys, values, activations.

Matrices are tiles of nibbles with a scale for each group and a factor for each row (abi/model.h); what is returned are
the weights that they stand for, rounded as the guest rounds them.

Read budget: root 1, records 2, the model's head 1 and 1 for 30 parts, then the values; where reads cost packets only as
many rows as some packets carry.
"""

from __future__ import annotations

import math
import struct
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.reading import ONE_PACKET, many
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, word
from bareflow_gdb.guest.model.inference import inference_record
from bareflow_gdb.guest.model.weights import TABLES, Part, Weights, read_weights
from bareflow_gdb.memory.protocol import Memory

MOST_VALUES = 1 << 19
"""Whose statistics are computed unless all are asked for."""
CORNER = 8
"""Rows and columns that are shown."""
_MOST_ROWS = 1 << 21
_PATIENCE_SECONDS = 2.0

T = TypeVar("T")
Say = Callable[[str], None]
_NUMBERS = {"float": ("f", 4), "int16": ("h", 2), "int32": ("i", 4)}
WEIGHTS, CACHE, ACTIVATION = "weights", "KV cache", "activation"


@dataclass(frozen=True)
class Tensor:
    """Where a tensor is, and what it is made of."""

    name: str
    what: str
    """"weights", "KV cache", "activation"."""
    type: str
    """"float", "int16", "int32", "tiles of 4 bits", "tiles of 8 bits"."""
    rows: int
    columns: int
    address: Address
    bytes: int
    position: int | None = None
    """Of a row of the stream that the guest kept: the token that it is of."""
    part: Part | None = None
    """Of the packed model."""

    @property
    def is_tiles(self) -> bool:
        return self.part is not None and self.part.planes > 0


@dataclass(frozen=True)
class Statistics:
    """Of the values that are numbers; None where there is none."""

    count: int
    rows: int
    """That were looked at."""
    minimum: float | None
    maximum: float | None
    mean: float | None
    rms: float | None
    nan: int
    infinite: int


@dataclass(frozen=True)
class Shown:
    """Some values: of row `row`, from the first column on."""

    row: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class TensorReport:
    """A tensor with some of its values."""

    name: str
    what: str
    type: str
    rows: int
    columns: int
    address: Address
    bytes: int
    position: int | None
    shown: tuple[Shown, ...]
    statistics: Statistics


def read_tensors(memory: Memory, root: Root) -> dict[str, Tensor]:
    """All tensors by name: those of the packed model, then what it computes with. Raises BadData."""
    weights = read_weights(memory)
    found = [of_part(part) for part in weights.parts if part.kind not in TABLES]
    if root.tells(5):
        try:
            raw = inference_record(memory)
        except BareflowError:
            raw = None
        if raw is not None:
            found += computed(memory, raw, weights)
    named: dict[str, Tensor] = {}
    for tensor in found:
        named.setdefault(tensor.name, tensor)
    return named


def computed(memory: Memory, raw: Any, weights: Weights) -> list[Tensor]:
    """What the guest computes with, by its inference record: activations, keys and values, the kept stream."""
    return [*_of_cache(memory, raw, weights), *_kept(memory, raw, weights)]


def named(tensors: dict[str, Tensor], name: str) -> Tensor:
    """The one of that name. Raises UsageError with names that are like it."""
    for tried in (name, f"{name}.weight"):
        if tried in tensors:
            return tensors[tried]
    from difflib import get_close_matches

    close = get_close_matches(name, tensors, 4) or [*tensors][:4]
    raise UsageError(f"there is no tensor {name!r}; there is {', '.join(close)}; `inference --tensors` lists all")


def report(
    memory: Memory, tensor: Tensor, row: int | None, limit: int, *, every: bool = False, say: Say | None = None
) -> TensorReport:
    """A corner, or the first `limit` values of one row, and statistics; `every`: of all values, whatever that costs.

    `say` is told, in sentences, how far it is. Raises UsageError for a row that is not there, ReadError.
    """
    if row is not None and not 0 <= row < tensor.rows:
        raise UsageError(f"{tensor.name} has no row {row:,}; its rows are 0 to {tensor.rows - 1:,}")
    wanted = [row] if row is not None else list(range(min(CORNER, tensor.rows)))
    columns = min(limit if row is not None else CORNER, tensor.columns)
    shown = [
        Shown(at, tuple(values[:columns])) for at, values in zip(wanted, read_rows(memory, tensor, wanted), strict=True)
    ]
    looked = range(tensor.rows) if every else _looked(memory, tensor)
    statistics = summed(_counted(read_rows(memory, tensor, looked), len(looked), say), len(looked))
    own = {name: getattr(tensor, name) for name in Tensor.__dataclass_fields__ if name != "part"}
    return TensorReport(**own, shown=tuple(shown), statistics=statistics)


def read_rows(memory: Memory, tensor: Tensor, rows: Sequence[int]) -> Iterator[array[float]]:
    """The values of some rows, in rising order."""
    if tensor.part is None or not tensor.part.planes:
        code, size = _NUMBERS[tensor.type]
        for first, last in _runs(rows):
            data = memory.read(
                tensor.address + first * tensor.columns * size, (last + 1 - first) * tensor.columns * size, tensor.name
            )
            for at in range(0, len(data), tensor.columns * size):
                yield _numbers(code, data[at : at + tensor.columns * size])
        return
    yield from _dequantised(memory, tensor.part, rows)


def _counted(rows: Iterable[T], count: int, say: Say | None) -> Iterator[T]:
    """The same, with a sentence now and then."""
    due = time.monotonic() + _PATIENCE_SECONDS
    for done, row in enumerate(rows):
        yield row
        if say is not None and time.monotonic() > due:
            due += _PATIENCE_SECONDS
            say(f"{done + 1:,} of {count:,} rows looked at")


def summed(rows: Iterable[Sequence[float]], count: int) -> Statistics:
    """Statistics of some rows."""
    values = nan = infinite = 0
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    for row in rows:
        finite = row
        values += len(row)
        if not all(map(math.isfinite, row)):
            nan += sum(map(math.isnan, row))
            infinite += sum(map(math.isinf, row))
            finite = [value for value in row if math.isfinite(value)]
        if finite:
            low, high = min(low, min(finite)), max(high, max(finite))
            total += math.fsum(finite)
            squares += math.fsum(value * value for value in finite)
    numbers = values - nan - infinite
    if not numbers:
        return Statistics(values, count, None, None, None, None, nan, infinite)
    return Statistics(values, count, low, high, total / numbers, math.sqrt(squares / numbers), nan, infinite)


def _looked(memory: Memory, tensor: Tensor) -> range:
    """The rows whose statistics take no longer than a second, or cost some packets: the first ones, of a whole tile."""
    if not memory.packets:
        return range(0, tensor.rows, -(-tensor.rows // max(1, MOST_VALUES // tensor.columns)))
    if tensor.part is not None and tensor.part.planes:
        rows = max(1, ONE_PACKET // tensor.part.tile_bytes) * layouts.const("BF_MODEL_TILE_ROWS")
    else:
        rows = max(1, ONE_PACKET // (4 * tensor.columns))
    return range(min(rows, tensor.rows))


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of rows that follow one another, a mebibyte of values at most."""
    at = 0
    while at < len(rows):
        end = at
        while end + 1 < len(rows) and rows[end + 1] == rows[end] + 1 and end - at < 255:
            end += 1
        yield rows[at], rows[end]
        at = end + 1


def _numbers(code: str, data: bytes) -> array[Any]:
    made: array[Any] = array(code)
    made.frombytes(data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


def _dequantised(memory: Memory, part: Part, rows: Sequence[int]) -> Iterator[array[float]]:
    lanes, group = layouts.const("BF_MODEL_TILE_ROWS"), layouts.const("BF_MODEL_GROUP_COLUMNS")
    vectors = layouts.const("BF_MODEL_GROUP_VECTORS")
    groups = -(-part.columns // group)
    factors_at = part.address + part.tiles * part.tile_bytes
    tile, words, signed = -1, array("H"), array("h")
    for row in rows:
        if row // lanes != tile:
            tile = row // lanes
            data = memory.read(part.address + tile * part.tile_bytes, part.tile_bytes, part.name)
            words, signed = _numbers("H", data), _numbers("h", data)
            factors = _numbers("f", memory.read(factors_at + 4 * tile * lanes, 4 * lanes, part.name))
        lane, factor = row % lanes, factors[row % lanes]
        whole = [0] * (groups * group)
        for plane in range(part.planes):
            for at in range(groups):
                base = (plane * groups + at) * (vectors + 2) * lanes + lane
                scale, least = signed[base + vectors * lanes], 16 * signed[base + (vectors + 1) * lanes]
                column = at * group
                for vector in range(vectors):
                    quad = words[base + vector * lanes]
                    whole[column] += (quad & 15) * scale + least
                    whole[column + 1] += (quad >> 4 & 15) * scale + least
                    whole[column + 2] += (quad >> 8 & 15) * scale + least
                    whole[column + 3] += (quad >> 12) * scale + least
                    column += 4
        # A product of two floats of 24 bits is exact here; the array rounds it once.
        yield _rounded([value * factor for value in whole[: part.columns]])


def _rounded(values: list[float]) -> array[float]:
    try:
        return array("f", values)
    except OverflowError:
        packed = (
            struct.pack("<f", value) if abs(value) < 3e38 else struct.pack("<f", math.copysign(math.inf, value))
            for value in values
        )
        return _numbers("f", b"".join(packed))


def of_part(part: Part) -> Tensor:
    """A part of the packed model that is one."""
    kind = f"tiles of {4 * part.planes} bits" if part.planes else "float"
    # The kernel's table has a row for each position.
    return Tensor(part.name, WEIGHTS, kind, part.rows, part.columns, part.address, part.bytes, part=part)


def _of_cache(memory: Memory, raw: Any, weights: Weights) -> list[Tensor]:
    """What the guest says that it computes with; keys and values layer by layer."""
    count = min(raw.buffer_count, layouts.const("BF_MOST_BUFFERS"))
    found = []
    for buffer in many(memory, "bf_buffer", raw.buffers, count, "model's buffers"):
        name, kind = clean(buffer.name), word("bf_number", buffer.type)
        if kind not in _NUMBERS or not 0 < buffer.rows <= _MOST_ROWS or not 0 < buffer.columns <= _MOST_ROWS:
            raise BadData(f"the guest claims a tensor {name} of {buffer.rows:,} x {buffer.columns:,}: overwritten")
        size = _NUMBERS[kind][1]
        whole = Tensor(
            name,
            ACTIVATION,
            kind,
            buffer.rows,
            buffer.columns,
            Address(buffer.address),
            buffer.rows * buffer.columns * size,
        )
        if name not in ("keys", "values"):
            found.append(whole)
            continue
        layers = weights.layers
        each, seen = buffer.rows // layers, min(raw.position, buffer.rows // layers)
        bytes_of = buffer.columns * size
        found += [
            replace(
                whole,
                name=f"blk.{layer}.{name}",
                what=CACHE,
                rows=max(seen, 1),
                address=Address(buffer.address + layer * each * bytes_of),
                bytes=each * bytes_of,
            )
            for layer in range(layers)
        ]
    return found


def kept_names(layers: int) -> list[str]:
    """What the rows of the kept stream are, as the reference calls them."""
    return ["token_embd", *(f"blk.{layer}.{name}" for layer in range(layers) for name in ("attn_add", "ffn_add"))]


def _kept(memory: Memory, raw: Any, weights: Weights) -> list[Tensor]:
    """The stream behind each part of each layer, of the last token."""
    names = kept_names(weights.layers)
    if raw.kept_rows != len(names):
        raise BadData(f"the guest claims to keep {raw.kept_rows:,} rows of the stream, not {len(names):,}: overwritten")
    data = memory.read(raw.kept_positions, 4 * len(names), "positions of the kept stream")
    each = 4 * weights.dim
    found = []
    for index, name in enumerate(names):
        position = int.from_bytes(data[4 * index : 4 * index + 4], "little")
        known = None if position == layouts.const("BF_INFERENCE_NONE") else position
        at = Address(raw.kept + index * each)
        shown = f"{name}.stream" if index == 0 else name
        found.append(Tensor(shown, ACTIVATION, "float", 1, weights.dim, at, each, known))
    return found
