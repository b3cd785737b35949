"""Every command that a sentence of ours advises exists: a next step that ends nowhere is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bareflow_gdb.cli.main import verb_names
from bareflow_gdb.questions import registry

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*sorted((ROOT / "bareflow_gdb").rglob("*.py")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
ADVISED = re.compile(r"`(bf|bareflow) ([a-z][a-z-]*)")
MADE = re.compile(r'@command\(\s*"([a-z-]+)"')


def of_gdb() -> set[str]:
    """By the source: only gdb can import it."""
    commands = (ROOT / "bareflow_gdb" / "gdb_ui" / "commands").glob("*.py")
    return {name for path in commands for name in MADE.findall(path.read_text())} | set(registry.names())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_advised_can_be_typed(path: Path) -> None:
    known = {"bf": of_gdb(), "bareflow": set(verb_names())}
    text = path.read_text()
    assert [f"{program} {name}" for program, name in ADVISED.findall(text) if name not in known[program]] == []
