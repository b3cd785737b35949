"""The museum's sample: every defect that memory can be given is named, at the place that it was not developed with.

`make museum` shows all of it: both places, and images that are started.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_copy import GuestCopy

from museum import lessons, look, started, written
from museum.__main__ import guest
from museum.exhibit import OURS, STOCK
from museum.lessons import LESSONS, recorded

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "museum.md"
ROWS = {str(number) for number in range(1, 23)}
OTHERS = 16


@pytest.fixture(scope="module", params=(OURS, STOCK))
def variant(request: pytest.FixtureRequest, firmware: Path) -> Iterator[tuple[str, GuestCopy]]:
    with guest(request.param, firmware) as machine:
        copy = GuestCopy(machine)
    yield request.param, copy


def test_each_defect_in_memory_is_named_and_a_healthy_guest_has_none(variant: tuple[str, GuestCopy]) -> None:
    kind, copy = variant
    assert [str(finding) for finding in copy.findings().findings if finding.bad] == []
    exhibits = [one for one in written.WING if one.variant == kind]
    seen = {one.defect: look.in_memory(one, copy, 1) for one in exhibits}
    assert {one.defect: seen[one.defect].causes for one in exhibits if not seen[one.defect].names(one)} == {}
    assert [str(finding) for finding in copy.findings().findings if finding.bad] == [], "the copy is as it was"


def test_a_defect_on_disk_is_named_by_a_diagnosis_that_knows_no_name(firmware: Path) -> None:
    exhibit = next(one for one in started.WING if one.row == "3" and one.variant == STOCK)
    folder = Path(tempfile.mkdtemp(prefix="bareflow-museum-"))
    try:
        seen = look.started(exhibit, firmware, folder, 1)
        assert seen.names(exhibit), seen.causes
    finally:
        shutil.rmtree(folder)


def test_every_row_has_an_exhibit_and_the_document_has_every_exhibit() -> None:
    exhibits = [*written.WING, *started.WING]
    assert {one.row for one in exhibits} - {""} == ROWS
    assert len({one.defect for one in exhibits if not one.row}) >= OTHERS
    text = DOCUMENT.read_text()
    assert [
        one.defect for one in exhibits if not re.search(rf"^\| {one.row} \| {re.escape(one.defect)} \|", text, re.M)
    ] == []


def test_each_lesson_is_in_the_document_with_what_was_typed_and_an_answer() -> None:
    shown = recorded(lessons.DOCUMENT.read_text())
    assert shown.keys() == LESSONS.keys()
    for name, lesson in LESSONS.items():
        assert tuple(re.findall(r"^\$ (.*)$", shown[name], re.MULTILINE)) == lesson.commands, name
        assert "error:" in shown[name] or "warning:" in shown[name]
