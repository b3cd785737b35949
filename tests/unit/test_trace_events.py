"""The table of event arguments against the header's own comments, and how packed words are taken apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import bareflow_gdb
from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME, ENUMS, EVENT_TYPES, event_type
from bareflow_gdb.tracing.events import EVENT_DTYPE

HEADER = Path(bareflow_gdb.__file__).parent / "abi" / "bareflow.h"
SAME = {
    "version << 8 | reason << 3 | level": "packed",
    "payload address": "address",
    "size asked": "asked",
    "bytes free": "free",
    "old entry": "old",
    "new entry": "new",
    "level wanted": "level",
    "request number": "request",
    "code address": "code",
    "version from": "from_version",
    "slot": "slot",
    "irq line": "line",
    "size before": "before",
    "reason (0 = done)": "reason",
    "position in the log buffer": "position",
    "0 read": "operation",
}


def comments() -> dict[str, str]:
    """Event name → the comment behind its constant."""
    text = HEADER.read_text()
    found = re.findall(r"BF_EVENT_(\w+) = \d+,?(?:[ \t]*/\*(.*?)\*/)?", text)
    return {name.lower(): comment.strip() for name, comment in found}


def test_every_event_type_of_the_header_has_its_name() -> None:
    values = layouts.enum_values("bf_event_type")
    assert [(f"BF_EVENT_{kind.name.upper()}", kind.number) for kind in EVENT_TYPES] == list(values.items())


@pytest.mark.parametrize("kind", EVENT_TYPES[1:], ids=lambda kind: kind.name)
def test_the_table_says_what_the_header_says(kind: object) -> None:
    assert isinstance(kind, type(EVENT_TYPES[0]))
    comment = comments()[kind.name]
    if kind.name == "mark":
        assert kind.arguments == ("arg0", "arg1", "arg2", "arg3")
        return
    identifier, _, arguments = comment.removeprefix("id ").partition("; ")
    told = [plain(word) for word in arguments.split(", ") if word]
    assert plain(identifier) == kind.id
    wanted = [name.replace("slot_index", "slot") for name in kind.arguments]
    assert told == wanted


def plain(words: str) -> str:
    return SAME.get(words, words.replace(" ", "_"))


def test_the_packed_word_of_a_publication_is_taken_apart() -> None:
    fields = BY_NAME["publish"].fields(3, (0x5000, 0x1000, 0x2000, 0x123456 << 8 | 19 << 3 | 3))
    assert fields == {
        "function": 3,
        "slot": 0x5000,
        "old": 0x1000,
        "new": 0x2000,
        "version": 0x123456,
        "reason": 19,
        "level": 3,
    }


def test_halves_are_joined_and_results_are_signed() -> None:
    assert BY_NAME["threshold"].fields(0, (0xFFFFFFFF, 0, 1, 1))["calls"] == 0x1FFFFFFFF
    assert BY_NAME["call"].fields(0, (2, 0xFFFFFFFF, 7, 0x80000000)) == {
        "function": 0,
        "version": 2,
        "a": -1,
        "b": 7,
        "result": -(2**31),
    }


def test_an_unknown_type_keeps_its_arguments() -> None:
    assert event_type(200).fields(9, (1, 2, 3, 4)) == {"id": 9, "arg0": 1, "arg1": 2, "arg2": 3, "arg3": 4}


def test_every_enum_that_is_named_exists() -> None:
    for enum in ENUMS.values():
        assert layouts.enum_values(enum)


def test_an_event_has_the_size_of_the_header() -> None:
    assert EVENT_DTYPE.itemsize == layouts.size("bf_event") == 32
