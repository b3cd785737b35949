"""How does a record become JSON? The same field names and values from gdb and from the command line.

Addresses and 32-bit patterns are strings "0x%08x", by the type of their field; all else stays what it is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from functools import cache
from typing import Any

from bareflow_gdb.foreign import printable
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.guest.base.values import Address, Word

_HEXADECIMAL: frozenset[Any] = frozenset({Address, Word})


def to_json(record: Any) -> Any:
    """A frozen dataclass, or a tuple or list of them, in the types that JSON has."""
    return _convert(record, None)


def dumps(record: Any) -> str:
    """The JSON text, indented."""
    return _text(to_json(record))


def dumps_answer(answer: Answer[Any]) -> str:
    """An answer's record; its provenance, where there is one, follows in fields `found` and `unknown`."""
    made = to_json(answer.record)
    if isinstance(made, dict):
        given = {"found": to_json(answer.found), "unknown": to_json(answer.unknown)}
        made |= {name: value for name, value in given.items() if value}
    return _text(made)


def _text(made: Any) -> str:
    """What a terminal should not get is escaped, as JSON itself does below 0x20."""
    text = json.dumps(made, indent=2, ensure_ascii=False)
    return text if printable(text, "\n") == text else json.dumps(made, indent=2)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _convert(value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            field.name: _convert(getattr(value, field.name), hints[field.name]) for field in dataclasses.fields(value)
        }
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no such numbers.
        return str(value)
    # Our tuples hold one type each; of a dict the last one is that of its values.
    parts = typing.get_args(hint)
    if isinstance(value, tuple | list):
        return [_convert(item, parts[0] if parts else None) for item in value]
    if isinstance(value, dict):
        return {str(key): _convert(item, parts[-1] if parts else None) for key, item in value.items()}
    if type(value) is int and not _HEXADECIMAL.isdisjoint((hint, *parts)):
        return f"0x{value:08x}"
    return value
