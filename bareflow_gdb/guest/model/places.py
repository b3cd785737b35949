"""What of a language model is at an address, and how much of RAM has it? Weights, keys and values, activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.model.inference import MOST_TOKENS, inference_record, model_record
from bareflow_gdb.guest.model.tensors import CACHE, Tensor, computed, of_part
from bareflow_gdb.guest.model.weights import TABLES, Weights, read_weights
from bareflow_gdb.memory.protocol import Memory

_MOST_KEPT = 16 << 20
"""Bytes."""


@dataclass(frozen=True)
class Place:
    """A range of memory that is the model's."""

    region: str
    """Of the memory map: "model weights", "model's keys and values", "model's activations", "model's memory"."""
    name: str
    start: Address
    size: int
    detail: str
    tensor: Tensor | None = None

    def inside(self, offset: int) -> str:
        """Row and columns of a byte of it; "" = it has none."""
        if self.tensor is None:
            return ""
        part = self.tensor.part
        if part is None or not part.planes:
            width = self.size // max(1, self._rows())
            row, at = divmod(offset, max(1, width))
            return f"row {row:,}, column {at // max(1, width // self.tensor.columns):,}"
        lanes, group = layouts.const("BF_MODEL_TILE_ROWS"), layouts.const("BF_MODEL_GROUP_COLUMNS")
        if offset >= part.tiles * part.tile_bytes:
            return f"factor of row {(offset - part.tiles * part.tile_bytes) // 4:,}"
        tile, at = divmod(offset, part.tile_bytes)
        groups = -(-part.columns // group)
        first = at // layouts.const("BF_MODEL_GROUP_BYTES") % groups * group
        last = min((tile + 1) * lanes, part.rows) - 1
        return f"rows {tile * lanes:,} to {last:,}, columns {first:,} to {min(first + group, part.columns) - 1:,}"

    def _rows(self) -> int:
        """That there is room for; of keys and values more than there are."""
        assert self.tensor is not None
        return self.size // (self.tensor.columns * (2 if self.tensor.type == "int16" else 4))


@dataclass(frozen=True)
class ModelMemory:
    """What a language model has of RAM, in bytes."""

    weights: Address
    weights_bytes: int
    cache: Address
    """Of keys and values; 0 = none: nothing computes."""
    cache_bytes: int
    cache_used: int
    activations_bytes: int
    free_bytes: int
    """Behind all of it."""


def has_model(memory: Memory, root: Root) -> bool:
    """Was one loaded, or is one at work? 1 packet."""
    if not root.tells(4):
        return False
    try:
        record = model_record(memory)
    except BareflowError:
        return False
    return bool(record.bytes or (root.tells(5) and record.inference))


def model_memory(memory: Memory) -> ModelMemory | None:
    """None: it cannot be read."""
    try:
        weights = read_weights(memory)
    except BareflowError:
        return None
    try:
        raw = inference_record(memory)
        tensors = computed(memory, raw, weights)
    except BareflowError:
        # It was loaded, and nothing computes with it.
        return ModelMemory(weights.address, weights.size, NOWHERE, 0, 0, 0, 0)
    cache = [tensor for tensor in tensors if tensor.what == CACHE]
    bytes_of = sum(tensor.bytes for tensor in cache)
    used = max(0, raw.memory_used - raw.memory)
    return ModelMemory(
        weights.address,
        weights.size,
        min((tensor.address for tensor in cache), default=NOWHERE),
        bytes_of,
        bytes_of * min(raw.position, raw.positions) // max(1, raw.positions),
        max(0, used - bytes_of),
        max(0, raw.memory_end - raw.memory_used),
    )


def place_at(memory: Memory, root: Root, address: int) -> Place | None:
    """The smallest place of the model around an address; None when it is not the model's, or none can be read."""
    if not root.tells(4):
        return None
    try:
        record = model_record(memory)
        known = root.tells(5) and record.inference
        if address < layouts.const("BF_WEIGHTS_BASE"):
            places = list(_records(record, bool(known)))
        else:
            weights = read_weights(memory)
            places = list(_of_weights(weights))
            if known:
                places += _of_work(memory, inference_record(memory), weights)
    except BareflowError:
        return None
    around = [place for place in places if place.start <= address < place.start + place.size]
    return min(around, key=lambda place: place.size, default=None)


def _records(record: Any, known: bool) -> Iterator[Place]:
    """The records of an application, in its image."""
    if record.question:
        size = layouts.size("bf_model_question")
        yield Place("kernel", "question to the model", Address(record.question), size, "struct bf_model_question")
    if known:
        size = layouts.size("bf_inference")
        yield Place("kernel", "inference record", Address(record.inference), size, "struct bf_inference")


def _of_weights(weights: Weights) -> Iterator[Place]:
    head = len(weights.head)
    yield Place("model weights", "header and part records", weights.address, head, f"model {weights.name}")
    for part in weights.parts:
        tensor = None if part.kind in TABLES else of_part(part)
        shape = "" if tensor is None else f"{tensor.rows:,} x {tensor.columns:,}, {tensor.type}"
        yield Place("model weights", part.name, part.address, part.bytes, shape, tensor)


def _of_work(memory: Memory, raw: Any, weights: Weights) -> Iterator[Place]:
    for tensor in computed(memory, raw, weights):
        region = "model's keys and values" if tensor.what == CACHE else "model's activations"
        shape = f"{tensor.rows:,} x {tensor.columns:,}, {tensor.type}"
        yield Place(region, tensor.name, tensor.address, tensor.bytes, shape, tensor)
    tokens = min(raw.text_count + raw.count, MOST_TOKENS)
    yield Place("model's memory", "tokens of the text and the answer", Address(raw.ids), 4 * tokens, "")
    used, end = raw.memory_used - raw.memory, raw.memory_end - raw.memory_used
    if used > 0:
        yield Place("model's memory", "", Address(raw.memory), used, "what the model works with")
    if end > 0:
        yield Place("model's memory", "free", Address(raw.memory_used), end, "behind what the model works with")


def kept_ranges(memory: Memory, root: Root) -> list[tuple[int, int]]:
    """What tells of a model at work, without its weights, keys and values: [start, end) each."""
    if not has_model(memory, root):
        return []
    try:
        weights = read_weights(memory)
        found = [(int(weights.address), weights.address + len(weights.head))]
        found += [(int(part.address), part.address + part.bytes) for part in weights.parts if part.kind in TABLES]
        raw = inference_record(memory)
        cache = [tensor for tensor in computed(memory, raw, weights) if tensor.what == CACHE]
        begin = min((int(tensor.address) for tensor in cache), default=raw.memory_used)
        found += [
            (raw.memory, begin),
            (max((tensor.address + tensor.bytes for tensor in cache), default=begin), raw.memory_used),
        ]
    except BareflowError:
        return []
    return [(start, end) for start, end in found if 0 < end - start <= _MOST_KEPT]
