"""What is on the guest's screen: 25 rows of 80 characters, 16 colours?

Text mode of the VGA: a byte of character (code page 437), a byte of attribute. Read budget: 2 packets.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.errors import BadData
from bareflow_gdb.memory.protocol import SCREEN_BYTES, Memory

COLUMNS = 80


@dataclass(frozen=True)
class ScreenRow:
    """One row; the text has 80 characters."""

    text: str
    attributes: str
    """80 times 2 hexadecimal digits: blink and background in the first, foreground in the second."""


@dataclass(frozen=True)
class Screen:
    """The screen, from the first row to the last."""

    columns: int
    rows: tuple[ScreenRow, ...]


def read_screen(memory: Memory) -> Screen:
    """Raises Unreachable when this memory does not hold the screen."""
    data = memory.screen()
    if len(data) != SCREEN_BYTES:
        raise BadData(f"the screen has {len(data)} bytes instead of {SCREEN_BYTES}: it is not in text mode")
    rows = [data[at : at + 2 * COLUMNS] for at in range(0, SCREEN_BYTES, 2 * COLUMNS)]
    return Screen(COLUMNS, tuple(ScreenRow(_text(row[::2]), row[1::2].hex()) for row in rows))


def _text(codes: bytes) -> str:
    """The glyphs of code page 437; what it has no printable character for is a blank."""
    return "".join(char if char.isprintable() else " " for char in codes.decode("cp437"))
