"""How long did each of LLVM's passes take? Read off the report that LLVM prints of them."""

from __future__ import annotations

import re

MOST = 64
"""Passes, the slowest ones."""
_TITLE = re.compile(r"-{2,}\s*([A-Z][A-Za-z+ ]*?)\s*-{2,}")
_VALUE = re.compile(r"([\d.]+) \(\s*[\d.]+%\)|-{3,}")
_COLUMNS = ("User+System", "User Time", "Wall Time")
"""Processor time, as far as LLVM has measured any."""


def parse_report(report: str) -> tuple[tuple[str, float], ...]:
    """Milliseconds by the name of the pass, the slowest first; LLVM prints each line as often as it has managers."""
    found: dict[str, float] = {}
    column: int | None = None
    for line in report.splitlines():
        if "--- Name ---" in line:
            titles = [title for title in _TITLE.findall(line) if title != "Name"]
            column = next((titles.index(name) for name in _COLUMNS if name in titles), None)
            continue
        values = list(_VALUE.finditer(line))
        if column is None or len(values) <= column or values[column][1] is None:
            continue
        name = line[values[-1].end() :].strip()
        if name and name != "Total":
            found[name] = max(found.get(name, 0.0), round(float(values[column][1]) * 1e3, 3))
    return tuple(sorted(found.items(), key=lambda item: -item[1])[:MOST])
