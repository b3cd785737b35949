"""How is a view printed: plain and fixed-width, or coloured on a terminal?

rich is imported only for the coloured form: pipes, files and tests need the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from bareflow_gdb.foreign import lines
from bareflow_gdb.render.fold import folded
from bareflow_gdb.render.view import Cell, Table, View

WIDTH = 140
"""Columns where no terminal says how many there are."""

_RICH_STYLES = {"good": "green", "bad": "bold red", "dim": "dim", "strong": "bold", "label": "cyan"}
_GAP = "  "
_UNLIMITED = 10_000


def wants_colour(stream: TextIO) -> bool:
    """A terminal, and the user has not said NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(view: View, width: int = WIDTH, color: bool = False) -> str:
    """A view as text, no newline at the end: with ANSI colours (which need rich), or plain and fixed-width."""
    return coloured(view, width) if color else plain(view)


def plain(view: View) -> str:
    """Fixed-width text without any escape sequence, no newline at the end."""
    return "\n".join(lines("".join(part.text for part in line).rstrip()) for line in _lines(view, _UNLIMITED))


def coloured(view: View, width: int = 100) -> str:
    """The same lines with ANSI colours; `width` columns if spare columns can make it so."""
    import io

    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, highlight=False, legacy_windows=False)
    for line in _lines(view, width):
        styled = Text.assemble(*((lines(part.text), _RICH_STYLES.get(part.style, "")) for part in line))
        # rich would cut what is too wide; the terminal wraps it, and nothing is lost.
        console.print(styled, soft_wrap=True)
    return out.getvalue().rstrip("\n")


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


def _lines(view: View, width: int) -> Iterator[list[Cell]]:
    """What stands in each line, with the way it is meant."""
    if view.title:
        yield [Cell(view.title, "strong")]
    label_width = max((len(label) for label, _ in view.facts), default=0)
    for label, value in view.facts:
        yield [Cell(f"  {label:<{label_width}}  ", "label"), value]
    for part in view.parts:
        if isinstance(part, str):
            yield from ([Cell(line)] for line in part.splitlines())
        else:
            yield from _table(part, width)
    for problem in folded(view.problems):
        yield [Cell("problem: ", "bad"), Cell(problem)]
    yield from ([Cell(note, "dim")] for note in folded(view.notes))


def _table(part: Table, width: int) -> Iterator[list[Cell]]:
    if part.title:
        yield [Cell(part.title, "strong")]
    if not part.rows:
        yield [Cell(f"  {part.empty}", "dim")]
        return
    part = fit(part, width)
    widths = _widths(part)
    for row in (tuple(Cell(column.name, "label") for column in part.columns), *part.rows):
        padded = zip(row, widths, part.columns, strict=True)
        yield [
            Cell(_GAP + (value.text.rjust(size) if column.right else value.text.ljust(size)), value.style)
            for value, size, column in padded
        ]
