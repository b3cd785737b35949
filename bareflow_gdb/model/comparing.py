"""Does the model in the guest compute what the reference does? Activations of the last token, layer by layer.

The reference starts from the guest's own keys and values, so that what went wrong at an earlier token does not count
here; whether those are right is a second question, for which it reads all tokens from the first on.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bareflow_gdb.errors import ReadError, UsageError
from bareflow_gdb.guest.model.tensors import kept_names
from bareflow_gdb.guest.model.weights import Part, Weights
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.model.encodings import Floats
from bareflow_gdb.model.networks import GuestNetwork
from bareflow_gdb.model.packed import decode
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from bareflow_gdb.model.progress import Progress, silent
from bareflow_gdb.model.snapshot import Snapshot

_AT_ONCE = 4 << 20


@dataclass(frozen=True)
class Step:
    """One activation of a token, compared bit by bit."""

    name: str
    """As the reference calls it: "blk.3.attn_add"."""
    layer: int | None
    position: int
    values: int
    differ: int
    """Of the values."""
    largest: float | None
    """Difference; None where one of them is no number, or none differs."""


@dataclass(frozen=True)
class Comparison:
    """What differs."""

    model: str
    reference: str
    """Where the reference has its weights from."""
    position: int
    """Tokens that the guest has computed."""
    layers: int
    steps: tuple[Step, ...]
    """In the order in which the guest makes them."""
    first: Step | None
    """The first one that differs."""
    cache_first: Step | None
    """Of the keys and values of all tokens, by the token and then by the layer, the first one that differs."""
    cache_compared: bool
    damaged: tuple[str, ...]
    """Parts of the model in the guest's memory that are not as they were packed."""
    weights_compared: bool


def damaged_parts(memory: Memory, weights: Weights, progress: Progress = silent) -> Iterator[Part]:
    """Parts in the guest's memory that differ from their CRC. Raises ReadError."""
    for part in weights.parts:
        progress(f"{part.name} in the guest", (part.address - weights.address) / weights.size)
        crc = 0
        for at in range(0, part.bytes, _AT_ONCE):
            crc = zlib.crc32(memory.read(part.address + at, min(_AT_ONCE, part.bytes - at), part.name), crc)
        if crc != part.crc:
            yield part


def reference_for(
    memory: Memory, weights: Weights, given: Path | None, damaged: tuple[str, ...] | None
) -> tuple[PackedFile, str]:
    """The packed model that the guest's was loaded from, and its name. `damaged` None: not known.

    Raises UsageError when it is another one, or is needed and not given.
    """
    for path in (SMALL,) if given is None else (given,):
        file = PackedFile.open(path)
        if file.data[: len(weights.head)] == weights.head:
            return file, str(path) if given is not None else "the small model of the suite"
    if given is not None:
        raise UsageError(f"{given} is another model than the guest's, {weights.name or 'which has no name'}")
    if damaged is None or damaged:
        why = "are not in this memory" if damaged is None else "are damaged in its memory"
        raise UsageError(f"the guest's weights {why}; give the packed model that it was started with, --model FILE")
    data = mmap.mmap(-1, weights.size)
    for at in range(0, weights.size, _AT_ONCE):
        data.write(memory.read(weights.address + at, min(_AT_ONCE, weights.size - at), "model"))
    path = Path("the guest's memory")
    return PackedFile(path, decode(weights.head, weights.size), data), "the guest's own weights, whose CRCs are right"


def compare(
    taken: Snapshot,
    file: PackedFile,
    reference: str,
    damaged: tuple[str, ...] | None,
    *,
    cache: bool = True,
    progress: Progress = silent,
) -> Comparison:
    """`cache`: the keys and values of all tokens too, which costs as much as the guest's whole text."""
    network = GuestNetwork(file)
    layers = file.model.dims.layers
    steps = sorted(_steps(network, taken), key=lambda step: step[0])
    ordered = tuple(step for _, step in steps)
    first = next((step for step in ordered if step.differ), None)
    return Comparison(
        file.model.name,
        reference,
        taken.position,
        layers,
        ordered,
        first,
        _cache_first(network, taken, progress) if cache else None,
        cache,
        damaged or (),
        damaged is not None,
    )


def _steps(network: GuestNetwork, taken: Snapshot) -> Iterator[tuple[tuple[int, int], Step]]:
    """What the guest has of its last tokens, with the place of each in the order of work."""
    positions = sorted({kept[0] for kept in taken.kept if kept is not None})
    if taken.logits is not None and taken.logits[0] not in positions and taken.logits[0] < taken.position:
        positions = sorted({*positions, taken.logits[0]})
    for position in positions:
        had = dict(_had(taken, position))
        network.go_on_from([rows[:position] for rows in taken.keys], [rows[:position] for rows in taken.values])
        for place, made in enumerate(network.activations([taken.ids[position]])):
            if made.name in had:
                yield (position, place), _step(made.name, position, had[made.name], made.values)


def _had(taken: Snapshot, position: int) -> Iterator[tuple[str, Floats]]:
    """What the guest has made of a token, by the reference's names."""
    names = kept_names(len(taken.keys))
    kept = {name for name, row in zip(names, taken.kept, strict=True) if row is not None and row[0] == position}
    for name, row in zip(names, taken.kept, strict=True):
        if name in kept and row is not None:
            yield name, row[1]
    for layer, (keys, values) in enumerate(zip(taken.keys, taken.values, strict=True)):
        # Made before the layer's attention, and not changed any more.
        if f"blk.{layer}.attn_add" in kept or position < taken.position:
            yield f"blk.{layer}.rope_k", keys[position]
            yield f"blk.{layer}.attn_v", values[position]
    if taken.logits is not None and taken.logits[0] == position:
        yield "logits", taken.logits[1]


def _step(name: str, position: int, found: Floats, wanted: Floats) -> Step:
    differ = found.view(np.uint32) != wanted.astype(np.float32, copy=False).view(np.uint32)
    with np.errstate(all="ignore"):
        largest = float(np.abs(found - wanted).max()) if differ.any() else None
    if largest is not None and not np.isfinite(largest):
        largest = None
    words = name.split(".")
    layer = int(words[1]) if words[0] == "blk" else None
    return Step(name, layer, position, len(found), int(differ.sum()), largest)


def _cache_first(network: GuestNetwork, taken: Snapshot, progress: Progress) -> Step | None:
    """The first token whose keys or values are not the reference's."""
    network.clear()
    network.logits(taken.ids[: taken.position], progress)
    best: tuple[int, int, str, Floats, Floats] | None = None
    for layer in range(len(taken.keys)):
        for name, rows, wanted in zip(
            ("rope_k", "attn_v"), (taken.keys[layer], taken.values[layer]), network.cache(layer), strict=True
        ):
            found = rows[: taken.position]
            wrong = np.flatnonzero((found.view(np.uint32) != wanted.view(np.uint32)).any(axis=1))
            if len(wrong) and (best is None or int(wrong[0]) < best[0]):
                at = int(wrong[0])
                best = (at, layer, name, found[at], wanted[at])
    if best is None:
        return None
    position, layer, name, had, made = best
    return _step(f"blk.{layer}.{name}", position, had, made)


def require_whole(memory: Memory, weights: Weights, progress: Progress) -> tuple[str, ...] | None:
    """Names of the damaged parts; None when the weights are not in this memory, or cost too many packets."""
    if memory.packets:
        return None
    try:
        return tuple(part.name for part in damaged_parts(memory, weights, progress))
    except ReadError:
        return None
