"""How does a person see what was survived?"""

from __future__ import annotations

from collections.abc import Sequence

from soak.campaign import Tally

HEADS = ("fault", "times", "survived", "s each", "what was lost")


def table(tallies: Sequence[Tally], seed: int) -> str:
    """A line for each fault and kind of loss, their sum, then what did not hold, with the command that repeats it."""
    rows: list[tuple[str, ...]] = [HEADS]
    for tally in tallies:
        if tally.left_out:
            rows.append((tally.name, "0", "", "", f"left out: {tally.left_out}"))
            continue
        each = f"{tally.seconds / tally.times:.1f}" if tally.times else ""
        first, *others = _losses(tally) or [""]
        rows.append((tally.name, f"{tally.times:,}", f"{tally.survived:,}", each, first))
        rows += [("", "", "", "", other) for other in others]
    times, survived = sum(tally.times for tally in tallies), sum(tally.survived for tally in tallies)
    rows.append(("sum", f"{times:,}", f"{survived:,}", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS) - 1)]
    lines = []
    for name, *numbers, lost in rows:
        cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        lines.append("  ".join((name.ljust(widths[0]), *cells, lost)).rstrip())
    for tally in tallies:
        for number, why, file in tally.failures:
            lines.append(f"\n{tally.name}: {why}\n    {file}")
            lines.append(f'    make soak FAULT="{tally.name}" SEED={seed} ROUND={number}')
    return "\n".join(lines)


def _losses(tally: Tally) -> list[str]:
    """The commonest first."""
    return [f"{lost or 'nothing'} ({count:,})" for lost, count in tally.lost.most_common()]
