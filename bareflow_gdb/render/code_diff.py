"""How are two versions of a function's code shown side by side as text?"""

from __future__ import annotations

from collections.abc import Sequence

from bareflow_gdb.guest.code.code_diff import Instruction, Row


def two_columns(rows: Sequence[Row], titles: tuple[str, str], most: int | None = None) -> str:
    """The rows as plain text, `|` where the sides differ; at most `most` rows, and how many are left out."""
    shown = rows if most is None else rows[:most]
    left = [_cell(row.old) for row in shown]
    width = max([len(titles[0]), *map(len, left)], default=0)
    lines = [f"{titles[0]:<{width}}   {titles[1]}".rstrip()]
    for row, cell in zip(shown, left, strict=True):
        mark = " " if row.equal else "|"
        lines.append(f"{cell:<{width}} {mark} {_cell(row.new)}".rstrip())
    if len(shown) < len(rows):
        lines.append(f"… {len(rows) - len(shown)} more lines")
    return "\n".join(lines)


def _cell(instruction: Instruction | None) -> str:
    return "" if instruction is None else f"+{instruction.offset:03x} {instruction.text}"
