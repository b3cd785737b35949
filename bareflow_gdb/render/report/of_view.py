"""How does the answer to a question stand in the page? As it does in a terminal: facts, tables, text, problems."""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.render.fold import folded
from bareflow_gdb.render.report.markup import Markup, join, tag
from bareflow_gdb.render.view import Cell, Table, View


@dataclass(frozen=True)
class Answered:
    """One question, answered for a report."""

    question: str
    view: View
    provenance: tuple[str, ...]
    """Where it was read from, what it cannot tell."""


def answered(answer: Answered) -> Markup:
    """The whole answer, without its title."""
    view = answer.view
    facts = [tag("tr", tag("th", label), tag("td", _shown(value))) for label, value in view.facts]
    parts = [_table(part) if isinstance(part, Table) else tag("pre", part) for part in view.parts if part]
    notes = [tag("p", note, class_="quiet") for note in folded((*view.notes, *answer.provenance))]
    return join(
        tag("div", tag("table", tag("tbody", facts), class_="facts"), class_="scroll") if facts else None,
        parts,
        problems(view.problems),
        notes,
    )


def part_of(part: Table | str) -> Markup:
    """One part of a view by itself."""
    return _table(part) if isinstance(part, Table) else tag("p", part, class_="quiet")


def problems(sentences: tuple[str, ...] | list[str]) -> Markup | None:
    """What is wrong, None when nothing is."""
    return tag("ul", [tag("li", one) for one in folded(sentences)], class_="problems") if sentences else None


def _table(part: Table) -> Markup:
    title = tag("h3", part.title) if part.title else None
    if not part.rows:
        return join(title, tag("p", part.empty, class_="quiet"))
    head = [tag("th", column.name, class_="n" if column.right else None) for column in part.columns]
    body = [
        tag(
            "tr",
            [
                tag("td", _shown(value), class_="n" if column.right else None)
                for value, column in zip(row, part.columns, strict=True)
            ],
        )
        for row in part.rows
    ]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", body))
    return join(title, tag("div", table, class_="scroll"))


def _shown(value: Cell) -> Markup | str:
    words = {"good": "good", "bad": "bad", "dim": "quiet"}
    return tag("span", value.text, class_=words[value.style]) if value.style in words else value.text
