"""The documents show what record.py types and what the definitions say: no block is empty, by hand, or out of date."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from types import ModuleType

import pytest
from gdb_harness import ROOT, Gdb

from bareflow_gdb.cli.main import verb_names
from bareflow_gdb.questions import registry


@pytest.fixture(scope="module")
def record() -> ModuleType:
    specification = importlib.util.spec_from_file_location("record", ROOT / "docs" / "record.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["record"] = module
    specification.loader.exec_module(module)
    return module


def test_each_session_is_on_a_page_with_what_was_typed_and_an_answer(record: ModuleType) -> None:
    shown = [item for page in record.PAGES for item in record.recorded(page.read_text()).items()]
    assert {name for name, _ in shown} == set(record.SESSIONS)
    for name, body in shown:
        typed = [line.removeprefix("(gdb) ") for line in body.splitlines() if line.startswith("(gdb) ")]
        assert typed == list(record.SESSIONS[name].commands), name
        assert len(body.splitlines()) > len(typed) + 2, name
        for word in ("Traceback", "defect", str(ROOT)):
            assert word not in body, name


def test_a_session_recorded_again_is_what_the_pages_show(record: ModuleType, gdb: Gdb) -> None:
    text = record.record(str(gdb.path), record.SESSIONS["no-guest"])
    for page in record.PAGES:
        assert record.rewrite(page.read_text(), {"no-guest": text}) == page.read_text()


def test_the_reference_is_what_the_definitions_say() -> None:
    words = [sys.executable, str(ROOT / "docs" / "make_reference.py"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (ROOT / "docs" / "reference.md").read_text()
    assert [name for name in registry.names() if f"\n### {name}\n" not in text] == []


def test_the_readme_names_commands_that_exist_in_thirteen_rows(gdb: Gdb) -> None:
    table = (ROOT / "README.md").read_text().split("## Commands")[1].split("The [reference]")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 13
    commands = {line.split()[1] for line in gdb.run("help bf").out.splitlines() if line.startswith("bf ")}
    for row in rows:
        for name in re.findall(r"`([\w-]+)`", row.split("|")[2]):
            assert name in commands or name in verb_names(), name


def test_links_lead_to_files_that_are_there() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "README.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_rewriting_leaves_the_rest_of_the_page_alone(record: ModuleType) -> None:
    page = "a\n<!-- session x -->\nold\n<!-- end -->\nb\n<!-- session y -->\nkept\n<!-- end -->\n"
    assert record.rewrite(page, {"x": "new"}) == (
        "a\n<!-- session x -->\n```text\nnew\n```\n<!-- end -->\nb\n<!-- session y -->\nkept\n<!-- end -->\n"
    )
