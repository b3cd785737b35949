"""How wide is gdb's terminal, does it show colours, and which characters?"""

from __future__ import annotations

import codecs
import os

import gdb


def say(text: str, end: str = "\n") -> None:
    """Prints, whatever gdb's host charset is and whatever is in the text."""
    print(shown(text), end=end, flush=True)


def shown(text: str) -> str:
    """What comes out right: gdb writes UTF-8, so where another charset is shown only ASCII does."""
    # In the locale C it is as likely as not that UTF-8 is shown.
    charset = "utf-8" if _charset() in ("utf-8", "ascii") else "ascii"
    return text.encode(charset, "replace").decode(charset)


def in_charset(text: str) -> str:
    """What gdb can take as the message of an error: it converts that to its host charset, and fails with what is not
    in it."""
    charset = _charset()
    return text.encode(charset, "replace").decode(charset)


def _charset() -> str:
    try:
        return codecs.lookup(gdb.host_charset()).name
    except LookupError:
        return "ascii"


def width() -> int:
    """Columns of gdb's terminal; enough for every table when gdb does not wrap."""
    columns = gdb.parameter("width")
    return int(columns) if columns else 140


def colored() -> bool:
    """Colours only on a terminal that wants them."""
    return os.isatty(1) and "NO_COLOR" not in os.environ and bool(gdb.parameter("style enabled"))
