"""Where is each field of the guest's records? Readers and writers made from the C headers beside this file.

dissect.cstruct parses the headers at the first question, not at import (about 20 ms plus its own import).
Decoding is by `struct`, one unpack per record, because it is many times faster than cstruct's own reader.
A record is a named tuple of integers; `bytes` for char and uint8_t arrays; tuples for other arrays; records.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bareflow_gdb import libraries
from bareflow_gdb.errors import BadData, UsageError

HEADERS = ("stock_kernel.h", "stock_unikernel.h", "fat16.h", "bareflow.h", "model.h")


@cache
def _parsed() -> Any:
    parser = libraries.load("dissect.cstruct").cstruct(endian="<")
    folder = Path(__file__).parent
    # Not compiled: that doubles the time, and `_Codec` decodes.
    parser.load("\n".join((folder / name).read_text(encoding="utf-8") for name in HEADERS), compiled=False)
    return parser


@dataclass(frozen=True)
class _Part:
    """One field: a nested record has a `codec`; `array` gives tuples; else it is a scalar or bytes."""

    name: str
    offset: int
    size: int
    # As `struct` writes it; empty for nested records.
    code: str
    # What `struct` unpacks for it.
    values: int
    codec: _Codec | None
    array: bool
    count: int
    # The element's code.
    element: str


@dataclass
class _Codec:
    """Packs and unpacks one record type."""

    name: str
    parts: tuple[_Part, ...]
    packer: struct.Struct
    values: int
    record: type[Any]
    plain: bool

    def build(self, values: Sequence[Any], at: int = 0) -> Any:
        if self.plain:
            return self.record(*values[at : at + self.values])
        made: list[Any] = []
        for part in self.parts:
            if part.codec is not None:
                step = part.codec.values
                items = [part.codec.build(values, at + index * step) for index in range(part.count)]
                made.append(tuple(items) if part.array else items[0])
            elif part.array:
                made.append(tuple(values[at : at + part.values]))
            else:
                made.append(values[at])
            at += part.values
        return self.record(*made)

    def flatten(self, given: dict[str, Any]) -> Iterator[Any]:
        unknown = given.keys() - {part.name for part in self.parts}
        if unknown:
            raise UsageError(f"struct {self.name} has no field {', '.join(sorted(unknown))}; see {', '.join(HEADERS)}")
        for part in self.parts:
            value = given.get(part.name)
            if part.codec is not None:
                items = list(value) if part.array and value is not None else [value] * part.count
                for item in items:
                    yield from part.codec.flatten(fields(item) if item is not None else {})
            elif part.array:
                items = list(value) if value is not None else []
                yield from (items + [0] * part.count)[: part.count]
            else:
                yield value if value is not None else (b"" if part.code.endswith("s") else 0)


@cache
def _codec(name: str) -> _Codec:
    parser = _parsed()
    kind = parser.typedefs.get(name)
    if not hasattr(kind, "__fields__"):
        raise UsageError(f"no struct {name} in {', '.join(HEADERS)}")
    parts = tuple(_part(item) for item in kind.__fields__)
    packer = struct.Struct("<" + "".join(_format(part) for part in parts))
    plain = all(part.codec is None and not part.array for part in parts)
    # The fields are the headers', which mypy cannot read.
    record: type[Any] = namedtuple(name, [part.name for part in parts])  # type: ignore[misc]
    return _Codec(name, parts, packer, sum(part.values for part in parts), record, plain)


def _part(item: Any) -> _Part:
    kind, count, array = item.type, 1, False
    element = getattr(kind, "type", None)
    if element is not None and getattr(kind, "num_entries", None) is not None:
        kind, count, array = element, int(kind.num_entries), True
    size = len(kind) * count
    if hasattr(kind, "__fields__"):
        codec = _codec(kind.__name__)
        return _Part(item.name, item.offset, size, "", codec.values * count, codec, array, count, "")
    element = str(getattr(kind, "packchar", "s"))
    if array and element in ("s", "B"):
        return _Part(item.name, item.offset, size, f"{count}s", 1, None, False, count, element)
    code = f"{count}{element}" if array else element
    return _Part(item.name, item.offset, size, code, count, None, array, count, element)


def _format(part: _Part) -> str:
    if part.codec is None:
        return part.code
    return "".join(_format(inner) for inner in part.codec.parts) * part.count


def size(name: str) -> int:
    """Bytes of struct `name`."""
    return _codec(name).packer.size


def offset(name: str, path: str) -> int:
    """Bytes from the start of struct `name` to the field; `path` may name a nested one: "code.address"."""
    return _field(name, path)[0]


def field_size(name: str, path: str) -> int:
    """Bytes of one field."""
    return _field(name, path)[1].size


def _field(name: str, path: str) -> tuple[int, _Part]:
    codec: _Codec | None = _codec(name)
    total = 0
    for step in path.split("."):
        found = next((part for part in codec.parts if part.name == step), None) if codec else None
        if found is None:
            raise UsageError(f"struct {name} has no field {path}; see {', '.join(HEADERS)}")
        total += found.offset
        codec = found.codec
    return total, found  # type: ignore[return-value] # there is one step at least


def field_names(name: str) -> tuple[str, ...]:
    """The fields of struct `name` in order."""
    return tuple(part.name for part in _codec(name).parts)


def const(name: str) -> int:
    """The value of a `#define` or of an enum constant."""
    value = _parsed().consts.get(name)
    if isinstance(value, int):
        return value
    found = _enum_constants().get(name)
    if found is None:
        raise UsageError(f"no constant {name} in {', '.join(HEADERS)}")
    return found


@cache
def _enum_constants() -> dict[str, int]:
    return {name: value for values in _enums().values() for name, value in values.items()}


@cache
def _enums() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, kind in _parsed().typedefs.items():
        if hasattr(kind, "__members__"):
            found[name] = {member: int(item.value) for member, item in kind.__members__.items()}
    return found


def structs() -> tuple[str, ...]:
    """The names of all structs of the headers."""
    return tuple(name for name, kind in _parsed().typedefs.items() if hasattr(kind, "__fields__"))


def enum_values(name: str) -> dict[str, int]:
    """Constant → value of `enum name`, in the header's order."""
    values = _enums().get(name)
    if values is None:
        raise UsageError(f"no enum {name} in {', '.join(HEADERS)}")
    return dict(values)


@cache
def _enum_names(name: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for constant, value in enum_values(name).items():
        names.setdefault(value, constant)
    return names


def enum_name(name: str, value: int) -> str:
    """The constant of `enum name` with this value, or "unknown(VALUE)": the guest may hold anything."""
    return _enum_names(name).get(value) or f"unknown({value})"


def unpack(name: str, data: bytes) -> Any:
    """The record at the start of `data`; raises BadData when there are too few bytes."""
    codec = _codec(name)
    if len(data) < codec.packer.size:
        raise BadData(f"struct {name} needs {codec.packer.size} bytes, there are {len(data)}; the source is truncated")
    return codec.build(codec.packer.unpack_from(data))


def unpack_array(name: str, data: bytes, count: int | None = None) -> list[Any]:
    """`count` records that follow one another in `data`; without a count as many as `data` holds in full."""
    codec = _codec(name)
    step = codec.packer.size
    if count is None:
        count = len(data) // step
    if count < 0 or len(data) < count * step:
        raise BadData(
            f"{count} records of struct {name} need {count * step} bytes, there are {len(data)}; "
            "the source is truncated"
        )
    return [codec.build(values) for values in codec.packer.iter_unpack(memoryview(data)[: count * step])]


def fields(record: Any) -> dict[str, Any]:
    """The fields of a decoded record as a dictionary; a dictionary stays itself."""
    if isinstance(record, dict):
        return record
    return dict(record._asdict())


def pack(name: str, /, **values: Any) -> bytes:
    """The bytes of struct `name`; a field not given is 0. Nested records: a dictionary or a record."""
    codec = _codec(name)
    try:
        return codec.packer.pack(*codec.flatten(values))
    except struct.error as error:
        raise UsageError(f"struct {name} cannot hold these values: {error}") from error


def numpy_dtype(name: str) -> Any:
    """The same layout as a NumPy dtype, for host programs (imports NumPy)."""
    import numpy

    codec = _codec(name)
    formats: list[Any] = []
    for part in codec.parts:
        if part.codec is not None:
            inner = numpy_dtype(part.codec.name)
            formats.append((inner, (part.count,)) if part.array else inner)
        elif part.element == "s":
            formats.append(f"S{part.count}")
        else:
            formats.append((f"<{part.element}", (part.count,)) if part.array or part.count > 1 else f"<{part.element}")
    names = [part.name for part in codec.parts]
    offsets = [part.offset for part in codec.parts]
    return numpy.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": codec.packer.size})
