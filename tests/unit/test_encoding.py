"""Every text file and every other program's text is read and written in a named encoding, never in the user's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("bareflow_gdb", "gdb_scripts", "docs", "bench", "scripts")
TEXT_BY_DEFAULT = ("read_text", "write_text", "open", "fdopen", "TextIOWrapper")
"""Calls whose files are text if they do not say otherwise."""
BINARY_BY_DEFAULT = ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile")
TEXT_WORDS = {"text", "universal_newlines", "errors"}
PROCESSES = ("Popen", "run", "check_output", "check_call", "call")
NOT_FILES = {"os.open", "webbrowser.open", "Trace.open", "PackedFile.open", "archive.open"}


def unnamed(source: str) -> list[int]:
    """The lines of calls that take the locale's encoding."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _takes_the_locales(call)]


def _takes_the_locales(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {word.arg for word in call.keywords}
    if "encoding" in given or ast.unparse(call.func) in NOT_FILES:
        return False
    if name in PROCESSES:
        return any(word.arg in TEXT_WORDS and ast.unparse(word.value) != "False" for word in call.keywords)
    if name in BINARY_BY_DEFAULT:
        return any("b" not in mode for mode in _modes(call))
    return name in TEXT_BY_DEFAULT and not any("b" in mode for mode in _modes(call))


def _modes(call: ast.Call) -> list[str]:
    """What may be the mode: short words of the letters that modes are made of."""
    values = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [item.value for item in values if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return [text for text in texts if text and set(text) <= set("rwaxbt+")]


@pytest.mark.parametrize(
    "source",
    (
        "path.read_text()",
        "path.read_text(errors='replace')",
        "path.write_text(text)",
        "open(path)",
        "path.open('w')",
        "os.fdopen(3)",
        "tempfile.TemporaryFile('w+')",
        "subprocess.run(words, text=True)",
        "subprocess.Popen(words, errors='replace')",
    ),
)
def test_a_call_without_an_encoding_is_found(source: str) -> None:
    assert unnamed(source) == [1]


@pytest.mark.parametrize(
    "source",
    (
        "path.read_text(encoding='utf-8')",
        "path.open('rb')",
        "os.fdopen(3, 'wb')",
        "tempfile.TemporaryFile()",
        "subprocess.run(words)",
        "os.open(path, os.O_RDONLY)",
    ),
)
def test_a_call_with_one_or_of_bytes_is_right(source: str) -> None:
    assert unnamed(source) == []


def test_no_file_of_ours_depends_on_the_locale() -> None:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 200
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in unnamed(path.read_text(encoding="utf-8"))]
    assert not found


def test_what_gdb_prints_goes_through_the_one_function_that_knows_its_charset() -> None:
    """`show.say`; a file may be printed to."""
    found = []
    for path in [*(ROOT / "bareflow_gdb" / "gdb_ui").rglob("*.py"), *(ROOT / "gdb_scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and path.name != "show.py":
                found += [f"{path.name}:{node.lineno}"] if not any(word.arg == "file" for word in node.keywords) else []
    assert not found
