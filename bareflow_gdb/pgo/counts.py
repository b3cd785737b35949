"""How often did each block of a function run, and how does that become a file that clang reads (.profdata)?

Written as LLVM's text profile of IR counters (`llvm-profdata merge` reads it): the name, the hash of the control flow
that was counted, the counters. clang takes no counts for a function whose control flow has another hash.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bareflow_gdb.errors import BadData, BareflowError

PROFDATA = ("llvm-profdata-19", "llvm-profdata")
MOST_FUNCTIONS, MOST_COUNTERS = 256, 4096
_NAME = re.compile(r"[\x21-\x7e]{1,300}")
_SECONDS = 60.0


@dataclass(frozen=True)
class FunctionCounts:
    """The counters of one function; `name` is LLVM's: of a static function with its file before it."""

    name: str
    hash: int
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As files have it."""
        return {"function": self.name, "hash": f"0x{self.hash:016x}", "counts": list(self.counts)}


def from_json(rows: Any, where: str) -> tuple[FunctionCounts, ...]:
    """Raises BadData."""
    if not isinstance(rows, list) or len(rows) > MOST_FUNCTIONS:
        raise BadData(f"{where} has no list of counters; take a new profile with `bareflow pgo profile --counters`")
    return tuple(_function(row, where) for row in rows)


def _function(row: Any, where: str) -> FunctionCounts:
    made = row if isinstance(row, dict) else {}
    name, digest, counts = str(made.get("function")), str(made.get("hash")), made.get("counts")
    right = _NAME.fullmatch(name) and name[0] not in "#:" and re.fullmatch(r"0x[0-9a-f]{16}", digest)
    if not right or not isinstance(counts, list) or not _are_counts(counts):
        raise BadData(f"the counters in {where} are damaged; take a new profile with `bareflow pgo profile --counters`")
    return FunctionCounts(name, int(digest, 16), tuple(counts))


def _are_counts(counts: list[Any]) -> bool:
    few = 0 < len(counts) <= MOST_COUNTERS
    return few and all(type(count) is int and 0 <= count < 1 << 64 for count in counts)


def proftext(functions: Sequence[FunctionCounts]) -> str:
    """LLVM's text."""
    lines = [":ir"]
    for function in functions:
        lines += [function.name, str(function.hash), str(len(function.counts)), *map(str, function.counts), ""]
    return "\n".join(lines) + "\n"


def profdata(functions: Sequence[FunctionCounts]) -> bytes:
    """The indexed file. Raises BareflowError when there is no llvm-profdata, or it refuses."""
    tool = next((found for name in PROFDATA if (found := shutil.which(name))), None)
    if tool is None:
        raise BareflowError(f"{PROFDATA[0]} is not installed; apt-get install llvm-19")
    with TemporaryDirectory(prefix="bfp-") as folder:
        text, made = Path(folder) / "counts.proftext", Path(folder) / "counts.profdata"
        text.write_text(proftext(functions), encoding="utf-8")
        try:
            done = subprocess.run(
                [tool, "merge", "-o", str(made), str(text)], capture_output=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BareflowError(f"{tool} did not work ({error}); install llvm-19 again") from error
        if done.returncode or not made.is_file():
            said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
            raise BareflowError(f"{PROFDATA[0]} refuses the counters ({said}); take a new profile")
        return made.read_bytes()
