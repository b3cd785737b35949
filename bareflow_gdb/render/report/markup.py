"""How is HTML built so that a guest's string can never become markup?

`tag` escapes every child that is not `Markup` already; nothing else here makes `Markup` from a plain string.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from bareflow_gdb.foreign import lines


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Markup | str | int | None

_EMPTY = frozenset({"meta", "input", "br", "hr", "rect", "line", "circle", "path"})


def escape(text: str) -> Markup:
    """Plain text as HTML; control characters other than line ends and tabs become `?`."""
    return Markup(html.escape(lines(text), quote=True))


def tag(name: str, /, *children: Child | Iterable[Child], **attributes: str | float | None) -> Markup:
    """One element. `class_` is class, `_` in a name is `-`; an attribute that is None is left out."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    if name in _EMPTY and not inner:
        return Markup(f"<{name}{words}/>")
    return Markup(f"<{name}{words}>{inner}</{name}>")


def join(*children: Child | Iterable[Child]) -> Markup:
    """Children one after the other."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str | int):
            parts.append(escape(str(child)))
        elif child is not None:
            parts.append(join(*child))
    return Markup("".join(parts))


def _number(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _cell(value: Child | float) -> Child:
    """Numbers with thousands separated, a mean with one decimal, None as `-`."""
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def table(heads: str, rows: Iterable[Iterable[Child | float]], empty: str = "none") -> Markup:
    """A table; `heads` are headings separated by `|`, one that begins with `>` is aligned to the right."""
    names = heads.split("|")
    classes = ["n" if name.startswith(">") else None for name in names]
    body = [
        tag("tr", [tag("td", _cell(value), class_=kind) for value, kind in zip(row, classes, strict=True)])
        for row in rows
    ]
    if not body:
        return tag("p", empty, class_="quiet")
    head = [tag("th", name.lstrip(">"), class_=kind) for name, kind in zip(names, classes, strict=True)]
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", body)), class_="scroll")
