"""How is a view printed: plain and fixed-width, or coloured on a terminal?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TextIO

from bareflow_gdb.render.view import Cell, Table, View

WIDTH = 140
"""Columns where no terminal says how many there are."""

_ANSI = {"good": "32", "bad": "1;31", "dim": "2", "strong": "1", "head": "36"}
_GAP = "  "


def wants_colour(stream: TextIO) -> bool:
    """A terminal, and the user has not said NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(view: View, width: int = WIDTH, color: bool = False) -> str:
    """A view as text, no newline at the end: with ANSI colours, or plain and fixed-width."""
    return coloured(view, width) if color else plain(view)


def plain(view: View) -> str:
    """Fixed-width text without any escape sequence, no newline at the end."""
    return "\n".join(line.rstrip() for line in _lines(view, lambda text, _: text))


def coloured(view: View, width: int = 100) -> str:
    """The same with ANSI colours; `width` columns if spare columns can make it so, else the terminal wraps it."""
    parts = tuple(part if isinstance(part, str) else fit(part, width) for part in view.parts)
    return "\n".join(line.rstrip() for line in _lines(replace(view, parts=parts), _painted))


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_ANSI[style]}m{text}\x1b[0m" if style in _ANSI else text


def fit(part: Table, width: int) -> Table:
    """The table without as many of its spare columns, the last first, as it takes to be `width` wide."""
    while sum(_widths(part)) + len(_GAP) * len(part.columns) > width:
        spare = [index for index, column in enumerate(part.columns) if column.spare]
        if not spare:
            break
        kept = [index for index in range(len(part.columns)) if index != spare[-1]]
        part = replace(
            part,
            columns=tuple(part.columns[index] for index in kept),
            rows=tuple(tuple(row[index] for index in kept) for row in part.rows),
        )
    return part


def _widths(part: Table) -> list[int]:
    return [
        max(len(column.name), *(len(row[index].text) for row in part.rows)) for index, column in enumerate(part.columns)
    ]


def _lines(view: View, paint: Callable[[str, str], str]) -> Iterator[str]:
    if view.title:
        yield paint(view.title, "strong")
    label_width = max((len(label) for label, _ in view.facts), default=0)
    for label, value in view.facts:
        yield f"  {paint(f'{label:<{label_width}}', 'head')}  {paint(value.text, value.style)}"
    for part in view.parts:
        yield from part.splitlines() if isinstance(part, str) else _table(part, paint)
    for problem in view.problems:
        yield f"{paint('problem:', 'bad')} {problem}"
    for note in view.notes:
        yield paint(note, "dim")


def _table(part: Table, paint: Callable[[str, str], str]) -> Iterator[str]:
    if part.title:
        yield paint(part.title, "strong")
    if not part.rows:
        yield f"  {paint(part.empty, 'dim')}"
        return
    widths = _widths(part)
    for row in (tuple(Cell(column.name, "head") for column in part.columns), *part.rows):
        line = ""
        for column, width, value in zip(part.columns, widths, row, strict=True):
            text, blanks = paint(value.text, value.style), " " * (width - len(value.text))
            line += _GAP + (blanks + text if column.right else text + blanks)
        yield line
