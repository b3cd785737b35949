"""A command that the suite tells a user to give is quoted for the shell that it is pasted into."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from bareflow_gdb.render.suggest import shell

ROOT = Path(__file__).parents[2]
PROGRAMS = re.compile(r"(?:\bbareflow [a-z]+|\bbabeltrace2|\bask it +\S+|\bcd|\brm)(?: [\w./-]+)* $")
SAFE = re.compile(r"(^|\.)name$|^names\[0\]$")
"""Names of machines, verbs and options: they are letters, digits, dots and dashes."""


@pytest.mark.parametrize(
    "name", ("plain", "s p", "(1)", "'", '"', "$HOME", "ü→", "-x", "tcp:1", "a`b`", "a\\b", "*", "a;b")
)
def test_a_path_comes_to_the_program_as_it_is(tmp_path: Path, name: str) -> None:
    for path in (Path(name), tmp_path / name):
        done = subprocess.run(["sh", "-c", shell("printf", "%s", path)], capture_output=True, check=True)
        assert Path(done.stdout.decode()) == path
        assert not done.stdout.startswith(b"-") and b"tcp:" not in done.stdout[:4]


def unquoted(source: str) -> list[str]:
    """What stands in an f-string behind a program's name, without having been quoted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                value = ast.unparse(part.value)
                if PROGRAMS.search(before) and not SAFE.search(value):
                    found.append(value)
                before += "x"
    return found


def test_what_is_not_quoted_is_found() -> None:
    assert unquoted("f'`bareflow trace recover {directory}` completes it'") == ["directory"]
    assert unquoted("f'read them with babeltrace2 {out}'") == ["out"]
    assert unquoted("f'`bareflow stop {machine.name}` ends it'") == []


def test_every_command_of_the_suite_is_quoted() -> None:
    files = [path for folder in ("bareflow_gdb", "gdb_scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    found = {str(path): unquoted(path.read_text(encoding="utf-8")) for path in files}
    assert not {path: values for path, values in found.items() if values}
