"""README.md and docs/gdb.md show what record.py types: no block is empty, by hand, or of a command that is gone."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from gdb_harness import ROOT, Gdb


@pytest.fixture(scope="module")
def record() -> ModuleType:
    specification = importlib.util.spec_from_file_location("record", ROOT / "docs" / "record.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["record"] = module
    specification.loader.exec_module(module)
    return module


def test_each_session_is_on_a_page_with_what_was_typed_and_an_answer(record: ModuleType) -> None:
    readme, page = (record.recorded(each.read_text()) for each in record.PAGES)
    assert set(page) == set(record.SESSIONS)
    assert set(readme) <= set(page)
    for name, body in (*page.items(), *readme.items()):
        typed = [line.removeprefix("(gdb) ") for line in body.splitlines() if line.startswith("(gdb) ")]
        assert typed == list(record.SESSIONS[name].commands), name
        assert len(body.splitlines()) > len(typed) + 2, name
        for word in ("Traceback", "defect", str(ROOT)):
            assert word not in body, name


def test_a_session_recorded_anew_is_what_the_page_shows(record: ModuleType, gdb: Gdb) -> None:
    page = record.PAGES[1].read_text()
    text = record.record(str(gdb.path), record.SESSIONS["no-guest"])
    assert record.rewrite(page, {"no-guest": text}) == page


def test_rewriting_leaves_the_rest_of_the_page_alone(record: ModuleType) -> None:
    page = "a\n<!-- session x -->\nold\n<!-- end -->\nb\n<!-- session y -->\nkept\n<!-- end -->\n"
    assert record.rewrite(page, {"x": "new"}) == (
        "a\n<!-- session x -->\n```text\nnew\n```\n<!-- end -->\nb\n<!-- session y -->\nkept\n<!-- end -->\n"
    )
