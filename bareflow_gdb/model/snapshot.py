"""What has a model in the guest computed so far: its tokens, keys and values, the stream of the last token, logits?

The guest may run meanwhile. What it has told before and after a read is of that moment; the rest is read again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.model.inference import inference_record, read_ids
from bareflow_gdb.guest.model.tensors import CACHE, computed
from bareflow_gdb.guest.model.weights import Weights
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.model.encodings import Floats

_TURNS = 20
_NONE = "BF_INFERENCE_NONE"


@dataclass(frozen=True)
class Snapshot:
    """What was computed, at one moment."""

    ids: tuple[int, ...]
    """The text's tokens, then the answer's."""
    position: int
    """Tokens whose keys and values are all there."""
    keys: tuple[Floats, ...]
    """Of each layer, [positions, kv_dim]; the token that is computed now has a row behind `position`."""
    values: tuple[Floats, ...]
    kept: tuple[tuple[int, Floats] | None, ...]
    """The stream as it was embedded, then behind attention and feed of each layer, with the token's position."""
    logits: tuple[int, Floats] | None


def take(memory: Memory, weights: Weights) -> Snapshot:
    """Raises BadData when nothing was computed yet, ReadError; BareflowError when the guest never held still."""
    before = inference_record(memory)
    for _ in range(_TURNS):
        found = _once(memory, weights, before)
        memory.invalidate()
        after = inference_record(memory)
        same_text = (before.answers, before.text_count) == (after.answers, after.text_count)
        if same_text and before.position <= after.position and any(found.kept):
            # Logits may have been of another token when they were read.
            same = before.logits_position == after.logits_position
            return found if same else replace(found, logits=None)
        before = after
    raise BareflowError("the guest computes faster than it is read; stop it, with `bf attach` in gdb, and ask again")


def _once(memory: Memory, weights: Weights, raw: Any) -> Snapshot:
    ids = read_ids(memory, raw, [])
    if not raw.position and not raw.text_count:
        raise BadData("the model has computed nothing yet; ask it something, as `bareflow chat` does")
    if not raw.position <= min(raw.positions, len(ids)):
        raise BadData(f"the guest claims position {raw.position:,} of {len(ids):,} tokens: overwritten")
    named = {tensor.name: tensor for tensor in computed(memory, raw, weights)}
    rows = min(raw.position + 1, raw.positions)

    def cache(what: str) -> tuple[Floats, ...]:
        found = (named.get(f"blk.{layer}.{what}") for layer in range(weights.layers))
        return tuple(_floats(memory, one.address, (rows, weights.kv_dim)) for one in found if one and one.what == CACHE)

    before = _positions(memory, raw)
    streams = _floats(memory, raw.kept, (raw.kept_rows, weights.dim))
    keys, values = cache("keys"), cache("values")
    logits = named.get("logits")
    last = None
    if raw.logits_position != layouts.const(_NONE) and logits is not None and logits.columns == weights.vocabulary:
        last = (raw.logits_position, _floats(memory, logits.address, (weights.vocabulary,)))
    memory.invalidate()
    still = [one if one == other else None for one, other in zip(before, _positions(memory, raw), strict=True)]
    kept = tuple(
        (at, row) if at is not None and at < min(len(ids), rows) else None
        for at, row in zip(still, streams, strict=True)
    )
    if len(keys) != weights.layers or len(values) != weights.layers:
        raise BadData("the guest does not tell where its keys and values are: overwritten")
    return Snapshot(tuple(ids), raw.position, keys, values, kept, last)


def _positions(memory: Memory, raw: Any) -> list[int]:
    data = memory.read(raw.kept_positions, 4 * raw.kept_rows, "positions of the kept stream")
    return [int(one) for one in np.frombuffer(data, "<u4")]


def _floats(memory: Memory, address: int, shape: tuple[int, ...]) -> Floats:
    data = memory.read(address, 4 * int(np.prod(shape)), "what the model has computed")
    return np.frombuffer(data, "<f4").reshape(shape)
