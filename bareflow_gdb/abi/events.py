"""What do the id and the four arguments of each event type mean?

The one table behind reports, the command line, gdb and the tests. The order and the names follow the comments
of `enum bf_event_type` in bareflow.h; a test compares the two. Standard library only: gdb imports this too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bareflow_gdb.errors import UsageError

Fields = dict[str, int]


@dataclass(frozen=True)
class EventType:
    """One event type: its number, its name, what `id` counts, and the arguments in order.

    Argument names ending in `_low` / `_high` are the halves of one 64-bit value; `publish` is the packed word
    `version << 8 | reason << 3 | level`.
    """

    number: int
    name: str
    id: str
    arguments: tuple[str, ...]

    def fields(self, identifier: int, arguments: Sequence[int]) -> Fields:
        """The arguments by name, halves joined, packed words taken apart, signed values signed."""
        found: Fields = {self.id: identifier} if self.id else {}
        values = dict(zip(self.arguments, (int(value) for value in arguments), strict=False))
        for name, value in values.items():
            if name.endswith("_high"):
                continue
            if name.endswith("_low"):
                stem = name[: -len("_low")]
                found[stem] = value | values[stem + "_high"] << 32
            elif name == "packed":
                found["version"] = value >> 8
                found["reason"] = value >> 3 & 0x1F
                found["level"] = value & 7
            elif name in SIGNED:
                found[name] = value - (1 << 32) if value >= 1 << 31 else value
            else:
                found[name] = value
        return found


ADDRESSES = frozenset({"code", "old_code", "new_code", "address", "slot", "old", "new", "entry", "eip", "cr2"})
SIGNED = frozenset({"result", "a", "b"})
ENUMS = {
    "stage": "bf_boot_stage",
    "pool": "bf_pool_kind",
    "owner_kind": "bf_owner_kind",
    "reason": "bf_reason",
    "provider": "bf_provider",
    "old_state": "bf_mail_state",
    "new_state": "bf_mail_state",
}

_TABLE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("none", "", ()),
    ("boot", "stage", ()),
    ("module_load", "module", ("code", "size", "reason")),
    ("module_unload", "module", ("code", "size", "reason")),
    ("module_override", "module", ("old_code", "new_code", "reason")),
    ("module_call", "module", ("result", "cycles_low", "cycles_high")),
    ("pool_alloc", "pool", ("address", "size", "owner", "owner_kind")),
    ("pool_free", "pool", ("address", "size", "owner", "owner_kind")),
    ("pool_fail", "pool", ("asked", "free", "reason")),
    ("jit_register", "function", ("slot", "code", "profiler_id")),
    ("threshold", "function", ("calls_low", "level_from", "level_to", "calls_high")),
    ("request", "function", ("level", "request", "code", "reason")),
    ("compile_begin", "function", ("level", "provider", "request")),
    ("compile_end", "function", ("level", "provider", "request", "reason")),
    ("emit", "function", ("code", "size", "crc", "version")),
    ("publish", "function", ("slot", "old", "new", "packed")),
    ("first_execution", "function", ("version", "entry", "calls_low", "calls_high")),
    ("retire", "function", ("version", "code", "size", "reason")),
    ("free", "function", ("version", "code", "size", "reason")),
    ("rollback", "function", ("from_version", "to_version")),
    ("reject", "function", ("reason", "request", "level")),
    ("veto", "function", ("level", "reason")),
    ("exception", "vector", ("eip", "error_code", "cr2")),
    ("irq", "line", ("tick",)),
    ("cache", "module", ("slot_index", "level", "reason")),
    ("disk", "operation", ("lba", "sectors", "status")),
    ("mailbox", "function", ("old_state", "new_state", "reason", "request")),
    ("console", "bytes", ("position",)),
    ("mark", "mark", ("arg0", "arg1", "arg2", "arg3")),
    ("layer", "layer", ("position",)),
    ("token", "answered", ("token", "position")),
    ("call", "function", ("version", "a", "b", "result")),
    ("pool_shrink", "pool", ("address", "size", "before")),
    ("counted", "function", ("calls_low", "calls_high", "cycles_low", "cycles_high")),
)

EVENT_TYPES = tuple(EventType(number, *row) for number, row in enumerate(_TABLE))
BY_NAME = {kind.name: kind for kind in EVENT_TYPES}


def type_numbers(names: Sequence[str]) -> list[int]:
    """The numbers of types; raises UsageError when there is no such type."""
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        known = ", ".join(sorted(BY_NAME))
        raise UsageError(f"there is no event type {', '.join(unknown)}; the types are {known}")
    return [BY_NAME[name].number for name in names]


def event_type(number: int) -> EventType:
    """The type with this number; an unknown number gives a type named `type_N` with plain arguments."""
    if 0 <= number < len(EVENT_TYPES):
        return EVENT_TYPES[number]
    return EventType(number, f"type_{number}", "id", ("arg0", "arg1", "arg2", "arg3"))
