"""What are the names and the tracks of a Perfetto trace, to which its events refer by number?

Texts are interned in its first packet (protos/perfetto/trace/interned_data/interned_data.proto); a track is described
before the first event on it (track_event/track_descriptor.proto).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import ENUMS, event_type
from bareflow_gdb.analysis.exports.columns import Column
from bareflow_gdb.analysis.exports.protobuf import Shape, message, number, text
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.tracing.store import Trace

SEQUENCE_ID = 1
"""All packets are of one sequence."""
PACKET, SEQUENCE, SEQUENCE_FLAGS = 1, 10, 13
NEEDS_INTERNED = 2
_CLEARED = 1
_INTERNED, _DESCRIPTOR = 12, 60
_NAMES, _ANNOTATION_NAMES, _STRINGS = 2, 3, 29
_BYTES = 3
_GUEST = 1
_ROOM = 1 << 16
_TRACKS = {kind: at * _ROOM for at, kind in enumerate(("cpu", "function", "tier", "pool", "bytes"), start=1)}
_NOT_KNOWN = "not known"
_LEVELS = tuple(f"O{level}" for level in range(layouts.const("BF_LEVELS")))
_ALL_TYPES = 256


class Names:
    """Those of one trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._described: set[int] = set()
        modules = (*trace.manifest.modules, _NOT_KNOWN)
        self._events = _Texts(
            {
                "type": [event_type(at).name for at in range(_ALL_TYPES)],
                "stage": _words("bf_boot_stage"),
                "module": modules,
                "tier": (*_LEVELS, _NOT_KNOWN),
                "compile": (*(f"compile {level}" for level in _LEVELS), "compile"),
            }
        )
        self._values = _Texts({"module": modules, **{field: _words(enum) for field, enum in ENUMS.items()}})
        kinds = (event_type(at) for at in range(_ALL_TYPES))
        arguments = dict.fromkeys(name for kind in kinds for name in (kind.id, *kind.fields(0, (0, 0, 0, 0))) if name)
        self._arguments = {name: at for at, name in enumerate(arguments, start=1)}

    def beginning(self) -> bytes:
        """The first packets: all texts, and the guest."""
        manifest = self._trace.manifest
        texts = (
            *self._events.interned(_NAMES),
            *(message(_ANNOTATION_NAMES, number(1, at), text(2, name)) for name, at in self._arguments.items()),
            *self._values.interned(_STRINGS),
        )
        head = (number(SEQUENCE, SEQUENCE_ID), number(SEQUENCE_FLAGS, _CLEARED))
        guest = message(3, number(1, 1), text(6, f"{manifest.machine} ({manifest.variant})"))
        return message(PACKET, *head, message(_INTERNED, *texts)).data + _described(number(1, _GUEST), guest)

    def of_events(self, what: str, values: Column) -> Column:
        """Event names by number: `what` is type, stage, module, tier or compile."""
        return self._events.numbers(what, values)

    def of_values(self, field: str, values: Column) -> Column | None:
        """The words that an argument's values stand for, by number; None when they are just numbers."""
        return self._values.numbers(field, values) if field in self._values else None

    def argument(self, name: str) -> int:
        """The number of an argument's name."""
        return self._arguments[name]

    def tracks(self, kind: str, ids: Column) -> tuple[Column, bytes]:
        """The numbers of tracks, and packets that describe the new ones. Kinds: cpu, function, tier, pool, bytes."""
        found = ids.astype(np.uint32) + _TRACKS[kind]
        new = [track for track in np.unique(found).tolist() if track not in self._described]
        self._described.update(new)
        return found, b"".join(self._describe(kind, track) for track in new)

    def _describe(self, kind: str, track: int) -> bytes:
        at = track - _TRACKS[kind]
        parts = [number(1, track), text(2, self._title(kind, at))]
        parent = _TRACKS["function"] + at if kind == "tier" else _GUEST
        if kind == "bytes":
            parts.append(message(8, number(3, _BYTES)))
        return _described(*parts, number(5, parent))

    def _title(self, kind: str, at: int) -> str:
        if kind == "function":
            return self._trace.function_name(at)
        pool = f"pool {word('bf_pool_kind', at)}"
        titles = {"cpu": f"CPU {at}", "tier": "tier", "pool": pool, "bytes": f"{pool}: bytes since the trace began"}
        return titles[kind]


class _Texts:
    """Lists of texts, numbered from 1 on; the last of a list stands for every value that the list does not have."""

    def __init__(self, lists: dict[str, Iterable[str]]) -> None:
        self._texts: list[str] = []
        self._places: dict[str, tuple[int, int]] = {}
        for name, texts in lists.items():
            first = len(self._texts) + 1
            self._texts += texts
            self._places[name] = first, len(self._texts)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def numbers(self, name: str, values: Column) -> Column:
        first, last = self._places[name]
        return np.minimum(values, last - first).astype(np.uint32) + first

    def interned(self, field: int) -> list[Shape]:
        return [message(field, number(1, at), text(2, one)) for at, one in enumerate(self._texts, start=1)]


def _described(*parts: Shape) -> bytes:
    return message(PACKET, number(SEQUENCE, SEQUENCE_ID), message(_DESCRIPTOR, *parts)).data


def _words(enum: str) -> list[str]:
    last = max(layouts.enum_values(enum).values())
    return [*(word(enum, value) for value in range(last + 1)), _NOT_KNOWN]
