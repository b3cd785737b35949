"""Which choices led to new code, and which of them does the repository keep? `corpus.json`: by target, in hex."""

from __future__ import annotations

import json
from pathlib import Path

KEPT = Path(__file__).with_name("corpus.json")
MOST_KEPT = 2
"""Of a target: the last that were found, which took most to find."""


def folder(corpus: Path, target: str) -> Path:
    """Where the fuzzer has those of a target, one in a file."""
    return corpus / "".join(c if c.isalnum() else "-" for c in target)


def kept() -> dict[str, list[str]]:
    """Those of the repository."""
    found: dict[str, list[str]] = json.loads(KEPT.read_text())
    return found


def lay_out(corpus: Path) -> None:
    """Puts those of the repository where the fuzzer begins, beside what it found before."""
    for target, choices in kept().items():
        place = folder(corpus, target)
        place.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(choices):
            (place / f"kept-{number}").write_bytes(bytes.fromhex(one))


def keep(corpus: Path, targets: list[str]) -> None:
    """Takes the last that were found of each target into the repository."""
    found = kept() if KEPT.exists() else {}
    for target in targets:
        files = sorted(folder(corpus, target).glob("*"), key=lambda path: path.stat().st_mtime_ns)
        if files:
            found[target] = sorted({path.read_bytes().hex() for path in files[-MOST_KEPT:]})
    KEPT.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
