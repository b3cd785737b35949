"""How does the guest's screen look: in its own 16 colours on a terminal, else as plain text?"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.screen import Screen, ScreenRow

_ANSI = (0, 4, 2, 6, 1, 5, 3, 7)
"""VGA counts blue, green, red; ANSI red, green, blue (ECMA-48, 8.3.117)."""
_RESET = "\x1b[0m"


def screen_text(record: Screen, color: bool) -> str:
    """The rows; plain, the empty ones at the end and trailing blanks are left out."""
    if not color:
        return "\n".join(row.text.rstrip() for row in record.rows).rstrip("\n")
    edge = "+" + "-" * record.columns + "+"
    return "\n".join((edge, *(f"|{_row(row)}|" for row in record.rows), edge))


def _row(row: ScreenRow) -> str:
    attributes = bytes.fromhex(row.attributes)
    cells = zip(attributes, row.text, strict=True)
    runs = groupby(cells, key=lambda cell: cell[0])
    return "".join(f"{_sgr(attribute)}{''.join(text for _, text in run)}" for attribute, run in runs) + _RESET


def _sgr(attribute: int) -> str:
    """Bits 0-3 foreground, 4-6 background, 7 blink."""
    front, back = attribute & 15, attribute >> 4 & 7
    foreground = (90 if front & 8 else 30) + _ANSI[front & 7]
    blink = ";5" if attribute & 0x80 else ""
    return f"\x1b[0;{foreground};{40 + _ANSI[back]}{blink}m"
