"""How do levels, addresses and what is missing stand in a cell of the page?"""

from __future__ import annotations

from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.render.report.markup import Markup, join, tag
from bareflow_gdb.render.view import level_name


def level_class(level: int | None) -> str:
    """The CSS class of a level's colour."""
    return f"l{level}" if level is not None and 0 <= level <= 3 else "lx"


def level(number: int | None) -> Markup:
    """A level on its colour."""
    return tag("span", level_name(number), class_=f"level {level_class(number)}")


def levels(swap: Swap) -> Markup:
    """From which level to which."""
    return join(level(swap.from_level), " → ", level(swap.to_level))


def address(value: int) -> str | None:
    """In hexadecimal; None where there is none."""
    return f"0x{value:08x}" if value else None


def missing() -> Markup:
    """In the place of what the sources should hold, and do not."""
    return tag("p", "Not in these sources: see the end of the page.", class_="quiet")
