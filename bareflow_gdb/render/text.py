"""How is a view printed: plain and fixed-width, or coloured on a terminal?

rich is imported only for the coloured form: pipes, files and tests need the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TextIO

from bareflow_gdb.foreign import lines
from bareflow_gdb.render.view import Cell, Table, View

WIDTH = 140
"""Columns where no terminal says how many there are."""

_RICH_STYLES = {"good": "green", "bad": "bold red", "dim": "dim", "strong": "bold"}
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
    return "\n".join(lines(line.rstrip()) for line in _lines(view))


def coloured(view: View, width: int = 100) -> str:
    """The same with rich's tables and ANSI colours; `width` columns if spare columns can make it so."""
    import io

    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    out = io.StringIO()
    # rich would cut what is too wide; the terminal wraps it, and nothing is lost.
    console = Console(file=out, force_terminal=True, width=_UNLIMITED, highlight=False, legacy_windows=False)

    def clear(words: str, style: str = "") -> Text:
        return Text(lines(words), style=style)

    def text(value: Cell) -> Text:
        return clear(value.text, _RICH_STYLES.get(value.style, ""))

    if view.title:
        console.print(clear(view.title, "bold"))
    label_width = max((len(label) for label, _ in view.facts), default=0)
    for label, value in view.facts:
        console.print(Text.assemble((f"  {label:<{label_width}}  ", "cyan"), text(value)), soft_wrap=True)
    for part in view.parts:
        if isinstance(part, str):
            console.print(clear(part), soft_wrap=True)
            continue
        if part.title:
            console.print(clear(part.title, "bold"))
        if not part.rows:
            console.print(clear(f"  {part.empty}", "dim"))
            continue
        fitting = fit(part, width)
        grid = RichTable(box=None, pad_edge=False, header_style="cyan", padding=(0, 2, 0, 0))
        for column in fitting.columns:
            grid.add_column(column.name, justify="right" if column.right else "left", no_wrap=True)
        for row in fitting.rows:
            grid.add_row(*(text(value) for value in row))
        console.print(grid)
    for problem in view.problems:
        console.print(Text.assemble(("problem: ", "bold red"), clear(problem)), soft_wrap=True)
    for note in view.notes:
        console.print(clear(note, "dim"), soft_wrap=True)
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


def _lines(view: View) -> Iterator[str]:
    if view.title:
        yield view.title
    label_width = max((len(label) for label, _ in view.facts), default=0)
    for label, value in view.facts:
        yield f"  {label:<{label_width}}  {value.text}"
    for part in view.parts:
        if isinstance(part, str):
            yield from part.splitlines()
        else:
            yield from _table(part)
    for problem in view.problems:
        yield f"problem: {problem}"
    yield from view.notes


def _table(part: Table) -> Iterator[str]:
    if part.title:
        yield part.title
    if not part.rows:
        yield f"  {part.empty}"
        return
    widths = _widths(part)
    right = [column.right for column in part.columns]
    yield _row([column.name for column in part.columns], widths, right)
    for row in part.rows:
        yield _row([value.text for value in row], widths, right)


def _row(texts: list[str], widths: list[int], right: list[bool]) -> str:
    cells = (
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(texts, widths, right, strict=True)
    )
    return "  " + _GAP.join(cells)
