"""What did the kernel export of its profiles, as JSON between two markers on COM1?

A log may begin or end inside of a document, and lines of others may stand in it: each row is read by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.foreign import sentence
from bareflow_gdb.small_files import parse_json

BEGIN, END = "--- BEGIN JSON ---", "--- END JSON ---"
MOST_ROWS = 4096
_LONGEST_NAME = 64
_HEADING = re.compile(r"^=== (?P<text>[^\n]{1,80}) ===\s*\Z", re.MULTILINE)
_ROW = re.compile(r"\{[^{}]{0,2000}\}")
_WORD = re.compile(r'"(?P<name>timestamp_cycles|total_calls|num_modules)": (?P<value>\d{1,20})\b')
_COUNTS = ("calls", "total_cycles", "min_cycles", "max_cycles", "code_size")


@dataclass(frozen=True)
class ExportedRow:
    """A module or a function; None where the row does not say it, or says what cannot be."""

    name: str
    calls: int | None
    total_cycles: int | None
    min_cycles: int | None
    max_cycles: int | None
    code_size: int | None
    code_address: int | None


@dataclass(frozen=True)
class Exported:
    """One document."""

    heading: str
    tsc: int | None
    """When it was printed, by the guest's clock."""
    total_calls: int | None
    count: int | None
    """Rows, as the document itself says."""
    rows: tuple[ExportedRow, ...]
    unreadable: int
    """Rows that are damaged."""
    cut: str
    """What of it is missing: "beginning", "end", "" = nothing."""


def exported(log: str) -> tuple[Exported, ...]:
    """The documents of a log by their order; of those with the same heading the last."""
    return tuple({document.heading: document for document in _documents(log)}.values())


def _documents(log: str) -> Iterator[Exported]:
    before, *pieces = log.split(BEGIN)
    head, is_end, _ = before.rpartition(END)
    if is_end:
        # The log begins inside of this one.
        yield _document("", head, "beginning")
    for piece in pieces:
        heading = _HEADING.search(before.rstrip()[-100:])
        body, is_end, _ = piece.partition(END)
        yield _document(heading["text"] if heading else "", body, "" if is_end else "end")
        before = piece


def _document(heading: str, body: str, cut: str) -> Exported:
    words = {found["name"]: int(found["value"]) for found in _WORD.finditer(body)}
    rows: list[ExportedRow] = []
    unreadable = 0
    for found in _ROW.finditer(body):
        row = _row(found[0])
        if row is None:
            unreadable += 1
        elif len(rows) < MOST_ROWS:
            rows.append(row)
    return Exported(
        heading=sentence(heading),
        tsc=words.get("timestamp_cycles"),
        total_calls=words.get("total_calls"),
        count=words.get("num_modules"),
        rows=tuple(rows),
        unreadable=unreadable,
        cut=cut,
    )


def _row(text: str) -> ExportedRow | None:
    try:
        made = parse_json(text)
    except ValueError:
        return None
    name = made.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return None
    counts = {key: _count(made.get(key)) for key in _COUNTS}
    return ExportedRow(name=sentence(name), code_address=_address(made.get("code_address")), **counts)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 64 else None


def _address(value: Any) -> int | None:
    return int(value, 16) if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", value) else None
