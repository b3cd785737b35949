"""How does a person see what came of a campaign?"""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.campaign import Tally
from fuzz.target import CONTROL, CRASH, LARGE, SLOW

HEADS = ("target", "inputs", "answered / refused", "crashes", "> 5 s", "> 500 MB", "control", "worst s", "worst MB")
GUIDED_HEADS = ("edges", "corpus")
"""Where atheris counted them."""


def table(tallies: Sequence[Tally]) -> str:
    """A line for each target, their sum, then what is wrong by kind, with the command that shows it again."""
    rows: list[tuple[str, ...]] = [HEADS, *(_row(tally) for tally in tallies)]
    whole = Tally("sum")
    for tally in tallies:
        whole.found.update(tally.found)
        whole.seconds, whole.mb = max(whole.seconds, tally.seconds), max(whole.mb, tally.mb)
    rows.append(_row(whole, sum(_kinds(tally) for tally in tallies)))
    if any(tally.edges for tally in tallies):
        guided = [GUIDED_HEADS, *((f"{tally.edges:,}", f"{tally.corpus:,}") for tally in tallies), ("", "")]
        rows = [(*row, *more) for row, more in zip(rows, guided, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    for tally in tallies:
        for kind, about in sorted(tally.kinds.items(), key=lambda item: -item[1]["count"]):
            lines.append(f"\n{tally.name}: {about['count']} x {', '.join(about['findings'])}: {kind}")
            if about["kept"]:
                lines.append(f"    make fuzz REPLAY={about['kept']}")
    return "\n".join(lines)


def _kinds(tally: Tally) -> int:
    return sum(CRASH in about["findings"] for about in tally.kinds.values())


def _row(tally: Tally, kinds: int | None = None) -> tuple[str, ...]:
    found = tally.found
    kinds = _kinds(tally) if kinds is None else kinds
    crashes = f"{found[CRASH]} ({kinds} kinds)" if kinds else str(found[CRASH])
    return (
        tally.name,
        f"{tally.inputs:,}",
        f"{found['answered']:,} / {found['refused']:,}",
        crashes,
        str(found[SLOW]),
        str(found[LARGE]),
        str(found[CONTROL]),
        f"{tally.seconds:.2f}",
        f"{tally.mb:.0f}",
    )
