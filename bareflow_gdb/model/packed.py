"""What does the head of a packed model say, and can it be right? Both ways between its bytes and a record.

The layout is abi/model.h, explained in docs/model-format.md.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

from bareflow_gdb import foreign
from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.model.dims import Dims, is_vector

_HEADER, _PART = "bf_model_header", "bf_model_part"
_DIMS = ("dim", "hidden", "layers", "heads", "kv_heads", "head_size", "vocabulary", "context", "rope_base", "epsilon")
FREE = {
    "tokens.text": "TOKEN_TEXT",
    "tokens.merges": "MERGES",
    "chat.before": "CHAT_BEFORE",
    "chat.after": "CHAT_AFTER",
}
"""Parts whose size the head does not tell, and their kinds."""


@dataclass(frozen=True)
class Part:
    """A piece of the file with a CRC of its own."""

    name: str
    kind: str
    """As in `enum bf_model_kind`, without the prefix: "ATTN_Q"."""
    layer: int
    rows: int
    columns: int
    planes: int = 0
    """Nibbles a weight of a matrix; 0 in what is no matrix."""
    offset: int = 0
    bytes: int = 0
    crc: int = 0

    @property
    def tiles(self) -> int:
        return -(-self.rows // layouts.const("BF_MODEL_TILE_ROWS"))

    @property
    def plane_groups(self) -> int:
        """Groups of a row in one plane."""
        return -(-self.columns // layouts.const("BF_MODEL_GROUP_COLUMNS"))

    @property
    def groups(self) -> int:
        """Groups of a row: those of the low plane, then those of the high one."""
        return self.plane_groups * self.planes

    @property
    def tile_bytes(self) -> int:
        return self.groups * layouts.const("BF_MODEL_GROUP_BYTES")

    @property
    def matrix_bytes(self) -> int:
        """All tiles, then a float for each row of them."""
        return self.tiles * (self.tile_bytes + 4 * layouts.const("BF_MODEL_TILE_ROWS"))


@dataclass(frozen=True)
class Model:
    """The head of a packed model."""

    name: str
    dims: Dims
    positions: int
    pieces: str
    """How text is cut before its bytes are merged: "NONE" (no tokens), "GPT2", "DIGITS"."""
    bos: int | None
    eos: int | None
    add_bos: bool
    parts: tuple[Part, ...]
    file_bytes: int = 0

    def find(self, kind: str) -> Part | None:
        """The first part of a kind."""
        return next((part for part in self.parts if part.kind == kind), None)


def kind_of(name: str) -> tuple[str, int]:
    """Kind and layer of a tensor by its name in GGUF."""
    words = name.split(".")
    return (words[-2].upper(), int(words[1])) if words[0] == "blk" else (words[0].upper(), 0)


def head_bytes(parts: int) -> int:
    return layouts.size(_HEADER) + parts * layouts.size(_PART)


def aligned(offset: int) -> int:
    step = layouts.const("BF_MODEL_ALIGN")
    return -(-offset // step) * step


def encode(model: Model) -> bytes:
    """Header and part records, with their CRC."""
    dims = model.dims
    none = layouts.const("BF_MODEL_NONE")
    values: dict[str, Any] = {name: getattr(dims, name) for name in _DIMS}
    values.update(
        magic=layouts.const("BF_MODEL_MAGIC"),
        version=layouts.const("BF_MODEL_VERSION"),
        parts=len(model.parts),
        file_bytes=model.file_bytes,
        positions=model.positions,
        tied=dims.tied,
        pieces=layouts.const(f"BF_MODEL_PIECES_{model.pieces}"),
        bos=none if model.bos is None else model.bos,
        eos=none if model.eos is None else model.eos,
        add_bos=model.add_bos,
        name=model.name.encode("ascii", "replace")[:63],
    )
    table = b"".join(
        layouts.pack(
            _PART,
            **{name: getattr(part, name) for name in ("layer", "offset", "bytes", "crc", "rows", "columns", "planes")},
            name=part.name.encode("ascii"),
            kind=layouts.const(f"BF_MODEL_{part.kind}"),
        )
        for part in model.parts
    )
    crc = zlib.crc32(layouts.pack(_HEADER, **values) + table)
    return layouts.pack(_HEADER, **values, crc=crc) + table


def is_packed(data: bytes) -> bool:
    return int.from_bytes(data[:4], "little") == layouts.const("BF_MODEL_MAGIC")


def parts_claimed(data: bytes) -> int:
    """How many part records follow this header. Raises BadData when it is none, or of another version."""
    if not is_packed(data):
        raise BadData("it is not a packed model; `bareflow model pack FILE --out PACKED` makes one")
    header = layouts.unpack(_HEADER, data)
    if header.version != layouts.const("BF_MODEL_VERSION"):
        raise BadData(
            f"it is packed in version {header.version} and this suite reads version "
            f"{layouts.const('BF_MODEL_VERSION')}; pack the model again"
        )
    if not 0 < header.parts <= layouts.const("BF_MODEL_MOST_PARTS"):
        raise BadData(f"its header claims {header.parts:,} parts; it is damaged, pack the model again")
    return int(header.parts)


def decode(data: bytes, file_bytes: int) -> Model:
    """The head that begins `data`, of a file of so many bytes. Raises BadData unless all of it fits together."""
    size = head_bytes(parts_claimed(data))
    if len(data) < size:
        raise BadData(f"its head has {size:,} bytes and the file {file_bytes:,}; it was cut off, pack the model again")
    header = layouts.unpack(_HEADER, data)
    at = layouts.offset(_HEADER, "crc")
    crc = zlib.crc32(data[:at] + bytes(4) + data[at + 4 : size])
    if crc != header.crc:
        raise BadData(f"its head has CRC 0x{crc:08x} and says 0x{header.crc:08x}; it is damaged, pack the model again")
    if header.file_bytes != file_bytes:
        raise BadData(
            f"it has {file_bytes:,} bytes and says that it has {header.file_bytes:,}; it was cut off or joined with "
            "something else, pack the model again"
        )
    dims = Dims(**{name: getattr(header, name) for name in _DIMS}, tied=header.tied == 1).checked()
    none = layouts.const("BF_MODEL_NONE")
    records = layouts.unpack_array(_PART, data[layouts.size(_HEADER) :], header.parts)
    pieces = layouts.enum_name("bf_model_pieces", header.pieces)
    if pieces.startswith("unknown"):
        raise BadData(f"it cuts text in a way that this suite does not know, {header.pieces}; pack the model again")
    model = Model(
        foreign.clean(header.name),
        dims,
        header.positions,
        pieces.removeprefix("BF_MODEL_PIECES_"),
        None if header.bos == none else header.bos,
        None if header.eos == none else header.eos,
        header.add_bos == 1,
        tuple(_part(record) for record in records),
        file_bytes,
    )
    _check(model, size)
    return model


def _part(record: Any) -> Part:
    kind = layouts.enum_name("bf_model_kind", record.kind).removeprefix("BF_MODEL_")
    numbers = {name: getattr(record, name) for name in ("offset", "bytes", "crc", "rows", "columns", "planes")}
    return Part(foreign.clean(record.name), kind, record.layer, **numbers)


def _check(model: Model, size: int) -> None:
    """Do parts lie in the file, apart from one another, and are they those that the sizes ask for?"""
    end = size
    for part in sorted(model.parts, key=lambda part: part.offset):
        if part.offset != aligned(part.offset) or part.offset < end or part.offset + part.bytes > model.file_bytes:
            raise BadData(
                f"its part {part.name} claims bytes {part.offset:,} to {part.offset + part.bytes:,}, which are "
                "outside the file, in another part, or not aligned; pack the model again"
            )
        end = part.offset + part.bytes
    known = {part.name: part for part in model.parts}
    if len(known) != len(model.parts):
        raise BadData("two of its parts have the same name; pack the model again")
    dims = model.dims
    if not 0 < model.positions <= dims.context:
        raise BadData(f"it claims {model.positions:,} positions of {dims.context:,}; pack the model again")
    for wanted in [*tensor_parts(dims), *table_parts(model)]:
        if wanted.name not in known:
            raise BadData(f"its part {wanted.name} is missing; pack the model again")
        part = known.pop(wanted.name)
        planes = part.planes if wanted.planes and part.planes in (1, 2) else wanted.planes
        if replace(part, offset=0, bytes=0, crc=0) != replace(wanted, planes=planes, bytes=0):
            raise BadData(f"its part {part.name} is not what the model's sizes ask for; pack the model again")
        if part.bytes != (part.matrix_bytes if planes else wanted.bytes):
            raise BadData(f"its part {part.name} has {part.bytes:,} bytes, which is not its size; pack the model again")
    for part in known.values():
        if part.name not in FREE or replace(part, offset=0, crc=0) != free_part(part.name, part.bytes):
            raise BadData(f"its part {part.name} is not one that a model has; pack the model again")
    for token in (model.bos, model.eos):
        if token is not None and token >= dims.vocabulary:
            raise BadData(f"its token {token} is not one of {dims.vocabulary:,}; pack the model again")


def tensor_parts(dims: Dims) -> list[Part]:
    """A part for each tensor, in the order of use; matrices with one plane, until it is known how many they have."""
    made = []
    for name, (rows, columns) in dims.shapes().items():
        kind, layer = kind_of(name)
        made.append(Part(name, kind, layer, rows, columns, 0 if is_vector(name) else 1, bytes=4 * columns))
    return made


def free_part(name: str, size: int) -> Part:
    return Part(name, FREE[name], 0, 1, size, bytes=size)


def table_parts(model: Model) -> list[Part]:
    """The parts of known size that are no tensors."""
    dims = model.dims
    rope = Part("rope", "ROPE", 0, model.positions, dims.head_size, bytes=4 * model.positions * dims.head_size)
    if model.pieces == "NONE":
        return [rope]
    count = dims.vocabulary
    return [
        rope,
        Part("tokens.ends", "TOKEN_ENDS", 0, 1, count, bytes=4 * count),
        Part("tokens.types", "TOKEN_TYPES", 0, 1, count, bytes=count),
    ]
