"""What did LLVM say about the making of a version: what it inlined, unrolled and moved, what it did not, and why?

A machine's `jit/vN.json` has it beside the version's symbols. The recompiler writes it; it comes from the guest's
bitcode, so that nothing of it is believed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.foreign import printable
from bareflow_gdb.guest.code.symbol_index import FOLDER
from bareflow_gdb.small_files import read_json

NO_VECTORS = "no loop is vectorised: the guest's CPU has no vector registers"
_MOST_BYTES = 1 << 20
_REMARK = re.compile(r"remark: (?P<file>.*?):(?P<line>\d{1,9}):(?P<column>\d{1,9}): (?P<text>.*)")
_MISSED = re.compile(r"\bnot\b|\bfailed\b|\bcannot\b|\bunable\b|\bunsupported\b")
_KINDS = (
    ("inlined", re.compile(r"\binlined into\b")),
    ("unrolled", re.compile(r"\bunrolled\b")),
    ("deleted", re.compile(r"\bdeleted\b")),
)
_MOVED = re.compile(r"^(?:hoisting|sinking)\b")


@dataclass(frozen=True)
class Remark:
    """One decision of a pass."""

    file: str
    """As the compiler called it, without folders; "" = it does not say."""
    line: int
    column: int
    text: str
    missed: bool
    """It is about what was not done."""

    @property
    def kind(self) -> str:
        """Of "inlined", "unrolled", "deleted", "moved out of loops", "missed", or "other"."""
        if self.missed:
            return "missed"
        moved = "moved out of loops" if _MOVED.search(self.text) else "other"
        return next((kind for kind, words in _KINDS if words.search(self.text)), moved)


@dataclass(frozen=True)
class Making:
    """How LLVM made a version."""

    remarks: tuple[Remark, ...]
    passes: tuple[tuple[str, float], ...]
    """Milliseconds of processor time, the slowest first."""


def parse(lines: Sequence[str]) -> tuple[Remark, ...]:
    """LLVM's lines as records, ordered by place; what is no remark is left out."""
    found = [match for line in lines if (match := _REMARK.fullmatch(line))]
    remarks = [
        Remark(
            file="" if match["file"] == "<unknown>" else printable(match["file"].rpartition("/")[2]),
            line=int(match["line"]),
            column=int(match["column"]),
            text=printable(match["text"].rstrip("; ")),
            missed=_MISSED.search(match["text"]) is not None,
        )
        for match in found
    ]
    return tuple(sorted(remarks, key=lambda one: (one.file, one.line, one.column)))


def summary(making: Making) -> str:
    """`1 inlined, 4 moved out of loops, 2 missed; slowest pass InstCombinePass, 2.9 ms`."""
    kinds = [remark.kind for remark in making.remarks]
    order = ("inlined", "unrolled", "deleted", "moved out of loops", "other", "missed")
    counts = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in order if kind in kinds) or "none"
    slowest = f"; slowest pass {making.passes[0][0]}, {making.passes[0][1]:,.1f} ms" if making.passes else ""
    return counts + slowest


def file_name(version: int) -> str:
    """Beside the version's symbols."""
    return f"v{version}.json"


def encode(remarks: Sequence[str], passes: Sequence[tuple[str, float]]) -> bytes:
    """The file of one version."""
    return json.dumps({"remarks": list(remarks), "passes": [list(one) for one in passes]}, indent=1).encode() + b"\n"


def read(machine_directory: Path, version: int) -> Making:
    """What was kept of a version; raises UsageError when nothing was, BadData."""
    path = machine_directory / FOLDER / file_name(version)
    try:
        record = read_json(path, _MOST_BYTES)
        passes = tuple((printable(str(name)), float(spent)) for name, spent in record["passes"])
        if not all(math.isfinite(spent) for _, spent in passes):
            raise ValueError("a time that is none")
        return Making(parse([str(line) for line in record["remarks"]]), passes)
    except FileNotFoundError as error:
        raise UsageError(
            f"no remarks are kept of version {version}, which `recompile` and `serve` did not make; recompile it first"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise BadData(f"{path} is damaged ({error!r}); remove it, and recompile the function") from error
