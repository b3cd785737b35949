"""How wide is gdb's terminal, and does it show colours?"""

from __future__ import annotations

import os

import gdb


def width() -> int:
    """Columns of gdb's terminal; enough for every table when gdb does not wrap."""
    columns = gdb.parameter("width")
    return int(columns) if columns else 140


def colored() -> bool:
    """Colours only on a terminal that wants them."""
    return os.isatty(1) and "NO_COLOR" not in os.environ and bool(gdb.parameter("style enabled"))
