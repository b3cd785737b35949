"""The report's picture in headless Chromium: no complaint, and zoom, search and slider do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Tab

from bareflow_gdb.cli.main import main

TRACE = Path(__file__).parents[2] / "traces" / "swaps-10-20-30"
PICTURE = "el('activity').toDataURL()"

pytestmark = pytest.mark.skipif(browser.CHROMIUM is None, reason="`apt install chromium` brings the browser")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    main(["report", str(TRACE), "--out", str(path)])
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Tab]:
    with browser.tab() as tab:
        yield tab


@pytest.fixture(params=(1200, 390), ids=("desk", "phone"))
def tab(request: pytest.FixtureRequest, chromium: Tab, page: Path) -> Iterator[Tab]:
    chromium.open(page, request.param, 800)
    chromium.value("var el = (id) => document.getElementById(id)")
    yield chromium
    assert chromium.complaints == []
    assert chromium.value("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"


def press(tab: Tab, action: str) -> None:
    tab.value(f"document.querySelector('button[data-do={action}]').click()")


def dispatched(tab: Tab, kind: str, name: str, what: str) -> None:
    """An event at the picture."""
    tab.value(f"el('activity').dispatchEvent(new {kind}Event('{name}', {{cancelable: true, {what}}}))")


def test_zoom_changes_the_picture_and_all_shows_it_again(tab: Tab) -> None:
    whole = tab.value(PICTURE)
    dispatched(tab, "Wheel", "wheel", "deltaY: -1, clientX: 300, clientY: 100")
    wheel = tab.value(PICTURE)
    press(tab, "in")
    closer = tab.value(PICTURE)
    assert len({whole, wheel, closer}) == 3
    press(tab, "whole")
    assert tab.value(PICTURE) == whole


def test_what_is_typed_is_found_and_gone_to(tab: Tab) -> None:
    def typed(words: str) -> str:
        tab.value(f"el('find').value = {words!r}; el('find').dispatchEvent(new Event('input'))")
        return str(tab.value("el('hits').textContent"))

    # A swap is a mark, and what ran after it a span.
    assert typed("primes o2 O3 call") == "1 found"
    before = tab.value(PICTURE)
    press(tab, "next")
    assert tab.value("el('hits').textContent") == "1 of 1"
    assert tab.value("el('told').textContent").startswith("primes: O2 → O3 (threshold, call 30), +483.596 ms")
    assert tab.value(PICTURE) != before
    found = int(typed("primes").split()[0])
    for action, place in (("next", 1), ("next", 2), ("next", 3), ("before", 2)):
        press(tab, action)
        assert tab.value("el('hits').textContent") == f"{place} of {found}"
    assert typed("nobody") == "0 found"
    assert typed("") == ""


def test_the_slider_shows_what_lay_in_the_pools_then(tab: Tab) -> None:
    def slid(to: int) -> tuple[str, str]:
        tab.value(f"el('moment').value = {to}; el('moment').dispatchEvent(new Event('input'))")
        return tab.value("el('when').textContent"), tab.value("el('pools').getAttribute('aria-label')")

    first, early, last = slid(0), slid(100), slid(1000)
    assert early[0].startswith("+56.")
    assert first[1].startswith("CODE: 0 blocks, 0 of 262,144 bytes")
    assert last[1].startswith("CODE: 60 blocks, ")
    assert len({first[1], early[1], last[1]}) == 3


def test_what_is_pointed_at_is_told(tab: Tab) -> None:
    box = "el('activity').getBoundingClientRect()"
    dispatched(tab, "Pointer", "pointermove", f"clientX: {box}.right - 3, clientY: {box}.top + 39")
    assert tab.value("el('told').textContent").startswith("fibonacci: O3, +469.367 ms for ")
