"""How is the museum written down? Defect by variant, with what the diagnosis calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museum.exhibit import OURS, STOCK, Exhibit

_HEAD = """# A museum of real defects

What went wrong in real kernels of this kind, each made on purpose, and what `bareflow diagnose` calls it. `make museum`
makes all of it, writes this table, and exits 1 when a defect is not named, or a healthy guest has a finding. Each is
made at two places or values. The diagnosis has neither the kernel's ELF nor a file's name to go by.

Defects of a finished image, a disk or memory are in [`tests/museum`](../tests/museum). Those that must be compiled are
in [`firmware/museum/defects.toml`](../firmware/museum/defects.toml); `make -C firmware museum` builds them into
`build/firmware/museum/`. Kernels of the field, with several at once, are in `firmware/stock/variants.mk`. A cell is the
cause that the diagnosis told, without its numbers; `-`: it cannot occur there, or is not made. Rows 1 to 22 cost the
developers of real kernels hours each.

| row | defect | with the debug interface | stock kernel |
|---|---|---|---|
"""


_NUMBER = re.compile(r"\b0x[0-9a-f]{5,8}\b|#\d+|\b\d[\d,]{4,}\b")


@dataclass(frozen=True)
class Row:
    """One exhibit at one place."""

    exhibit: Exhibit[Any]
    place: int
    named: str
    causes: int
    seconds: float


def write(path: Path, rows: list[Row]) -> None:
    """The table; the seconds are those of one run and stay out of it."""
    named: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        key = (row.exhibit.row, row.exhibit.defect)
        named.setdefault(key, {}).setdefault(row.exhibit.variant, _NUMBER.sub("…", row.named))
    lines = []
    for (number, defect), variants in sorted(
        named.items(), key=lambda one: (not one[0][0], int(one[0][0] or 0), one[0][1])
    ):
        cells = [variants.get(variant, "-") for variant in (OURS, STOCK)]
        lines.append(f"| {number} | {defect} | " + " | ".join(cells) + " |")
    path.write_text(_HEAD + "\n".join(lines) + "\n")
