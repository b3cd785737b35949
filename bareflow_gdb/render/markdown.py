"""How does a view become Markdown, for the log of a CI job or a comment? Tables as GitHub has them.

What a guest named is text: everything that Markdown or HTML gives a meaning is written so that it has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bareflow_gdb.foreign import printable
from bareflow_gdb.render.fold import folded
from bareflow_gdb.render.view import Cell, Table, View

_MEANT = re.compile(r"([\\`*_{}\[\]()#+!|~@$-])")
_MARKS = {"WRONG": "❌", "note": "ℹ️", "ok": "✅"}  # noqa: RUF001 - GitHub draws it
"""Words of a verdict that stand out where people only skim."""


def markdown(view: View) -> str:
    """The view, one trailing newline."""
    return "\n".join(_lines(view)).rstrip("\n") + "\n"


def _lines(view: View) -> Iterator[str]:
    if view.title:
        yield f"## {escaped(view.title)}\n"
    if view.facts:
        yield from _rows(("", ""), (False, False), ((Cell(label), value) for label, value in view.facts))
    for part in view.parts:
        if isinstance(part, str):
            yield f"{escaped(part)}\n"
        else:
            yield from _table(part)
    yield from _list("Problems", folded(view.problems))
    yield from _list("Notes", folded(view.notes))


def _table(part: Table) -> Iterator[str]:
    if part.title:
        yield f"### {escaped(part.title)}\n"
    if not part.rows:
        yield f"{escaped(part.empty)}\n"
        return
    yield from _rows([one.name for one in part.columns], [one.right for one in part.columns], part.rows)


def _rows(heads: Iterable[str], right: Iterable[bool], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    yield _row(map(escaped, heads))
    yield _row("--:" if one else "---" for one in right)
    for row in rows:
        yield _row(_MARKS.get(value.text, "") + " " * (value.text in _MARKS) + escaped(value.text) for value in row)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = [f"- {escaped(line)}" for line in lines]
    if items:
        yield from (f"### {title}\n", *items, "")


def escaped(text: str) -> str:
    """Text in which nothing is Markdown or HTML, in one line."""
    plain = " ".join(printable(text, keep="\n").split())
    return _MEANT.sub(r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
