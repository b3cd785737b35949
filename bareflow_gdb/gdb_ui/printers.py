"""How does gdb print the records of the contract? Short: no zeros, words for enum numbers, capped counts.

The guest may be damaged or hostile: texts are stripped of control characters, arrays end at their capacity or
at MOST entries, whatever a count in memory says. `print/r` shows a record as gdb does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gdb
import gdb.printing

from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base import values

NAME = "bareflow"
MOST = 16
"""Array entries that are shown; `print/r` shows all."""

MOST_BYTES = 64

_ENUMS = {
    ("bf_boot_record", "stage"): "bf_boot_stage",
    ("bf_boot_record", "fatal"): "bf_fatal",
    ("bf_boot_record", "disk_method"): "bf_disk_method",
    ("bf_boot_record", "a20_method"): "bf_a20_method",
    ("bf_model_record", "state"): "bf_model_state",
    ("bf_model_record", "transfer"): "bf_transfer",
    ("bf_root", "variant"): "bf_variant",
    ("bf_root", "scenario"): "bf_scenario",
    ("bf_function", "provider"): "bf_provider",
    ("bf_version", "state"): "bf_version_state",
    ("bf_version", "reason"): "bf_reason",
    ("bf_version", "provider"): "bf_provider",
    ("bf_block", "pool"): "bf_pool_kind",
    ("bf_block", "state"): "bf_block_state",
    ("bf_block", "owner_kind"): "bf_owner_kind",
    ("bf_ring_header", "mode"): "bf_ring_mode",
    ("bf_event", "type"): "bf_event_type",
    ("bf_mail_slot", "state"): "bf_mail_state",
    ("bf_mail_slot", "reason"): "bf_reason",
    ("bf_mail_slot", "control"): "bf_control",
    ("bf_mail_slot", "done_state"): "bf_mail_state",
    ("bf_mail_slot", "done_reason"): "bf_reason",
}

# Which field counts an array's entries in use.
_COUNTS = {
    ("module_manager", "modules"): "num_modules",
    ("function_profiler", "functions"): "function_count",
    ("adaptive_jit", "functions"): "function_count",
    ("jit_profile", "entries"): "num_functions",
}

_HEX = re.compile(
    r"magic|(?:\w+_)?crc|crc_\w+|signature|checksum|address|base|entry_point|code_ptr|e[a-ds][xip]|ebp|esp|eflags|cr\d|error_code|code_v\d"
    r"|current_code|next|free_list|hook_mask|type_mask"
)
_UNSAID = re.compile(r"reserved\d*|padding\d*|settable_reserved")
_HEADERS = Path(__file__).resolve().parents[1] / "abi"


@cache
def struct_names() -> frozenset[str]:
    """The struct tags of the contract's headers."""
    found: set[str] = set()
    for header in _HEADERS.glob("*.h"):
        found.update(re.findall(r"^(?:typedef )?struct (\w+) \{", header.read_text(encoding="utf-8"), re.MULTILINE))
    return frozenset(found)


class RecordPrinter:
    """One record, as gdb's printers want it: a title and its children."""

    def __init__(self, name: str, value: gdb.Value) -> None:
        self._name = name
        self._value = value

    def to_string(self) -> str:
        return self._name

    def children(self) -> Iterator[tuple[str, Any]]:
        for field in self._value.type.strip_typedefs().fields():
            name = str(field.name)
            if not _UNSAID.fullmatch(name):
                yield from self._child(name, self._value[name])

    def _child(self, name: str, value: gdb.Value) -> Iterator[tuple[str, Any]]:
        kind = value.type.strip_typedefs()
        if kind.code == gdb.TYPE_CODE_ARRAY:
            yield from self._array(name, value, kind)
        elif kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            yield name, value
        elif number := int(value):
            yield name, self._scalar(name, number, value.type)

    def _scalar(self, name: str, number: int, kind: gdb.Type) -> str:
        enum = _ENUMS.get((self._name, name))
        if enum is not None:
            return values.word(enum, number)
        if str(kind) == "bf_ptr" or kind.strip_typedefs().code == gdb.TYPE_CODE_PTR or _HEX.fullmatch(name):
            return f"0x{number & 0xFFFFFFFF:08x}"
        return str(number)

    def _array(self, name: str, value: gdb.Value, kind: gdb.Type) -> Iterator[tuple[str, Any]]:
        length = kind.range()[1] + 1
        element = kind.target()
        if element.sizeof == 1:
            raw = bytes(int(value[index]) & 0xFF for index in range(min(length, MOST_BYTES)))
            # `unsigned char` and `uint8_t` arrays are bytes, `char` arrays are texts.
            text = str(element) == "char"
            if any(raw):
                yield name, f'"{clean(raw)}"' if text else raw.hex()
            return
        used = self._used(name, length)
        records = element.strip_typedefs().code == gdb.TYPE_CODE_STRUCT
        if records:
            for index in range(min(used, MOST)):
                yield f"{name}[{index}]", value[index]
            if used > MOST:
                yield name, f"… {used - MOST} more"
            return
        numbers = [int(value[index]) for index in range(min(used, MOST))]
        if any(numbers):
            more = f", … {used - MOST} more" if used > MOST else ""
            yield name, f"{{{', '.join(self._scalar(name, number, element) for number in numbers)}{more}}}"

    def _used(self, name: str, length: int) -> int:
        count = _COUNTS.get((self._name, name))
        return min(int(self._value[count]), length) if count is not None else length


class AddressPrinter:
    """An address of the contract, which is a number to C, as the argument of a function too."""

    def __init__(self, value: gdb.Value) -> None:
        self._value = value

    def to_string(self) -> str:
        return f"0x{int(self._value) & 0xFFFFFFFF:08x}"


class _Collection:
    """gdb asks it for every value it prints; it knows the contract's records by their struct tag."""

    def __init__(self) -> None:
        self.name = NAME
        self.enabled = True
        self.subprinters: list[Any] = []

    def __call__(self, value: gdb.Value) -> RecordPrinter | AddressPrinter | None:
        if value.type.name == "bf_ptr":
            return AddressPrinter(value)
        kind = value.type.strip_typedefs()
        if kind.code != gdb.TYPE_CODE_STRUCT:
            return None
        name = record_name(kind)
        return RecordPrinter(name, value) if name is not None else None


def record_name(kind: gdb.Type) -> str | None:
    """The contract's name of a struct type, by its tag; None for any other struct."""
    tag = kind.unqualified().tag
    return tag if tag in struct_names() else None


def register() -> None:
    """Hooks the printers into gdb, once."""
    add: Callable[..., None] = gdb.printing.register_pretty_printer
    add(None, _Collection(), replace=True)


def unregister() -> None:
    """Takes them back."""
    gdb.pretty_printers[:] = [item for item in gdb.pretty_printers if getattr(item, "name", "") != NAME]
