"""How is disassembled code shown: one listing with its notes, or two tiers side by side?"""

from __future__ import annotations

from collections.abc import Sequence

from bareflow_gdb.guest.code.code_diff import Pair
from bareflow_gdb.guest.code.remarks import NO_VECTORS, Remark, summary
from bareflow_gdb.guest.code.source_lines import Place
from bareflow_gdb.guest.disas import Difference, Line, Listing
from bareflow_gdb.render.fold import folded

CODE_BYTES = 8
WIDTH = 140
PASSES = 8
"""The slowest ones, that are shown."""


def listing(record: Listing, width: int = WIDTH, color: bool = False) -> str:
    """A title, then a line per instruction; `=>` at the address that was asked for."""
    lines = [f"{record.title}: {record.size} bytes at 0x{record.address:08x}, {record.bits}-bit code"]
    told: set[Remark] = set()
    place: Place | None = None
    for line in record.lines:
        if line.source is not None and line.source != place:
            place = line.source
            lines += _at_source(record, place, told)
        here = record.at is not None and record.at > 0 and 0 <= record.at - line.offset < len(line.code) // 2
        lines.append(_line(line, here, color))
    lines += _of_making(record, told)
    lines += [f"! {problem}" for problem in folded(record.problems)]
    return "\n".join(line.rstrip() if color else line.rstrip()[:width] for line in lines)


def _at_source(record: Listing, place: Place, told: set[Remark]) -> list[str]:
    """The line of source that the next instructions come from, and what LLVM said of it, each remark once."""
    file, number = place
    text = record.source[number - 1] if 0 < number <= len(record.source) else ""
    lines = [f"{file}:{number}  {text}".rstrip()]
    for remark in record.making.remarks if record.making is not None else ():
        if (remark.file, remark.line) == place and remark not in told:
            told.add(remark)
            lines.append(_remark(remark, f"{'':4}"))
    return lines


def _remark(remark: Remark, before: str) -> str:
    return f"{before}{'missed' if remark.missed else 'remark'}  {remark.text}"


def _of_making(record: Listing, told: set[Remark]) -> list[str]:
    """The remarks that belong to no instruction, and the passes."""
    if record.making is None:
        return []
    rest = [remark for remark in record.making.remarks if remark not in told]
    lines = ["not at any instruction:"] if rest else []
    lines += [_remark(remark, f"    {remark.file or '?'}:{remark.line}  ") for remark in rest]
    passes = ", ".join(f"{name} {spent:,.1f}" for name, spent in record.making.passes[:PASSES] if spent)
    return [*lines, f"remarks: {summary(record.making)}", NO_VECTORS, *([f"passes, ms: {passes}"] if passes else [])]


def _line(line: Line, here: bool, color: bool) -> str:
    code = line.code if len(line.code) <= 2 * CODE_BYTES else line.code[: 2 * CODE_BYTES - 1] + "…"
    note = f"; {line.note}" if line.note else ""
    if color and note:
        note = f"\x1b[36m{note}\x1b[0m"
    mark = "=>" if here else "  "
    return f"{mark} {line.address:08x} +{line.offset:03x}  {code:<{2 * CODE_BYTES}}  {line.text:<38} {note}"


def difference(record: Difference, width: int = WIDTH, color: bool = False) -> str:
    """Both tiers in two columns, `|` where they differ."""
    old, new = (f"{side.title}, {side.size} bytes at 0x{side.address:08x}" for side in (record.old, record.new))
    lines = two_columns(record.rows, (old, new), longest=max(20, (width - 3) // 2), color=color)
    return "\n".join([*lines, f"{record.equal_instructions} of {len(record.rows)} lines are equal"])


def two_columns(
    rows: Sequence[Pair], titles: tuple[str, str], most: int | None = None, longest: int = WIDTH, color: bool = False
) -> list[str]:
    """A line for each row, `|` where the sides differ; at most `most` rows, and how many are left out."""
    shown = rows if most is None else rows[:most]
    column = min(max([len(titles[0]), *(len(row.old) for row in shown)]), longest)
    lines = [f"{titles[0]:<{column}}   {titles[1]}".rstrip()]
    for row in shown:
        text = f"{row.old[:column]:<{column}} {' ' if row.equal else '|'} {row.new}".rstrip()
        lines.append(f"\x1b[2m{text}\x1b[0m" if color and row.equal else text)
    if len(shown) < len(rows):
        lines.append(f"… {len(rows) - len(shown)} more lines")
    return lines
