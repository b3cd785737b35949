"""What does the head of the packed model in memory say? Its sizes, and where each of its parts is.

The layout is abi/model.h, explained in docs/model-format.md. Everything in it may be wrong; what is returned lies
within the model, and every size of a part is that of its rows and columns.

Read budget: 1 packet, and 1 for 30 parts.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import Memory

_MOST_SIZE = 1 << 20
_MOST_LAYERS = 256
_SIZES = ("dim", "hidden", "heads", "kv_heads", "head_size", "vocabulary", "positions")
TABLES = frozenset({"TOKEN_ENDS", "TOKEN_TEXT", "TOKEN_TYPES", "MERGES", "CHAT_BEFORE", "CHAT_AFTER"})
"""Kinds of parts that are no tensors."""


@dataclass(frozen=True)
class Part:
    """A piece of the model in memory."""

    name: str
    kind: str
    """As in `enum bf_model_kind`, without the prefix: "ATTN_Q"."""
    layer: int
    address: Address
    bytes: int
    crc: int
    rows: int
    columns: int
    planes: int
    """Nibbles a weight of a matrix; 0 in what is no matrix."""

    @property
    def tile_bytes(self) -> int:
        groups = -(-self.columns // layouts.const("BF_MODEL_GROUP_COLUMNS"))
        return groups * self.planes * layouts.const("BF_MODEL_GROUP_BYTES")

    @property
    def tiles(self) -> int:
        return -(-self.rows // layouts.const("BF_MODEL_TILE_ROWS"))


@dataclass(frozen=True)
class Weights:
    """The packed model in memory."""

    name: str
    address: Address
    size: int
    """Bytes."""
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    positions: int
    """That it is packed for; the guest may have room for fewer."""
    parts: tuple[Part, ...]
    head: bytes
    """Header and part records."""

    @property
    def kv_dim(self) -> int:
        return self.kv_heads * self.head_size

    def find(self, kind: str) -> Part | None:
        """The first part of a kind."""
        return next((part for part in self.parts if part.kind == kind), None)


def read_weights(memory: Memory) -> Weights:
    """Raises BadData when there is no packed model, or its head is damaged; ReadError when it is not in this memory."""
    base, size = layouts.const("BF_WEIGHTS_BASE"), layouts.size("bf_model_header")
    data = memory.read(base, size, "model's header")
    header = layouts.unpack("bf_model_header", data)
    if header.magic != layouts.const("BF_MODEL_MAGIC"):
        raise BadData(
            f"there is no language model in memory: at 0x{base:08x} is no packed one; `make llama` starts a guest "
            "that has one"
        )
    if header.version != layouts.const("BF_MODEL_VERSION"):
        raise BadData(
            f"the model in memory is packed in version {header.version}, and this suite reads version "
            f"{layouts.const('BF_MODEL_VERSION')}; pack it again"
        )
    head_bytes = size + header.parts * layouts.size("bf_model_part")
    if not 0 < header.parts <= layouts.const("BF_MODEL_MOST_PARTS") or not head_bytes <= header.file_bytes:
        raise BadData(f"the model in memory claims {header.parts:,} parts: its head was overwritten")
    data += memory.read(base + size, head_bytes - size, "model's parts")
    at = layouts.offset("bf_model_header", "crc")
    crc = zlib.crc32(data[:at] + bytes(4) + data[at + 4 :])
    if crc != header.crc:
        raise BadData(f"the head of the model in memory has CRC 0x{crc:08x} and says 0x{header.crc:08x}: overwritten")
    sizes = {name: getattr(header, name) for name in _SIZES}
    impossible = (
        not all(1 <= value <= _MOST_SIZE for value in sizes.values())
        or not 1 <= header.layers <= _MOST_LAYERS
        or header.file_bytes > layouts.const("BF_MODEL_MOST_BYTES")
        or sizes["heads"] * sizes["head_size"] > _MOST_SIZE
    )
    if impossible:
        raise BadData("the sizes in the head of the model in memory are those of no model; pack it again")
    records = layouts.unpack_array("bf_model_part", data[size:], header.parts)
    parts = (_part(record, base, header.file_bytes) for record in records)
    name = clean(header.name)
    return Weights(name, Address(base), header.file_bytes, **sizes, layers=header.layers, parts=tuple(parts), head=data)


def _part(record: object, base: int, file_bytes: int) -> Part:
    """Raises BadData unless it lies in the model and has the size of its rows and columns."""
    fields = layouts.fields(record)
    kind = layouts.enum_name("bf_model_kind", fields["kind"]).removeprefix("BF_MODEL_")
    numbers = {name: fields[name] for name in ("layer", "bytes", "crc", "rows", "columns", "planes")}
    part = Part(clean(fields["name"]), kind, address=Address(base + fields["offset"]), **numbers)
    fits = fields["offset"] + part.bytes <= file_bytes
    if kind not in TABLES:
        values = part.rows * part.columns
        size = part.tiles * (part.tile_bytes + 4 * layouts.const("BF_MODEL_TILE_ROWS")) if part.planes else 4 * values
        fits = fits and part.planes <= 2 and values > 0 and size == part.bytes
    if not fits:
        raise BadData(f"part {part.name} of the model in memory is not what its head says; pack it again")
    return part
