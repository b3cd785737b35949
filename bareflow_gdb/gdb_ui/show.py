"""How does a record reach gdb's terminal? Through the renderers of the command line, as wide as gdb is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gdb


def table(name: str) -> Callable[[Any], str]:
    """The renderer `render.tables.NAME`, imported when it is first needed."""

    def show(record: Any) -> str:
        from bareflow_gdb.render import tables

        renderer: Callable[..., str] = getattr(tables, name)
        return renderer(record, width=width(), color=colored())

    return show


def width() -> int:
    """Columns of gdb's terminal; enough for every table when gdb does not wrap."""
    columns = gdb.parameter("width")
    return int(columns) if columns else 140


def colored() -> bool:
    """Colours only on a terminal that wants them."""
    return os.isatty(1) and "NO_COLOR" not in os.environ and bool(gdb.parameter("style enabled"))
