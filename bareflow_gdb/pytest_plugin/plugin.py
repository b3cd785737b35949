"""What does pytest get from the suite: the fixture `guest`, its marker, its options?

Every run of pytest in this environment loads this file, so that it imports nothing of the suite until a test asks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bareflow_gdb.pytest_plugin.guest import GuestUnderTest

MARKER = "bareflow"
_IMAGE = "bareflow_image"
_RUNNING: pytest.StashKey[GuestUnderTest] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bareflow", "BareFlow guests")
    group.addoption("--bareflow-image", metavar="FILE", help="the boot disk image that the fixture `guest` starts")
    parser.addini(_IMAGE, "the same, beside the configuration file (default: the image that the suite would start)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARKER}(image, disk, memory, icount, thresholds, hold, scenario, stage, seconds): "
        "how the fixture `guest` starts its machine, and which boot stage it waits for",
    )


@pytest.fixture
def guest(request: pytest.FixtureRequest) -> Iterator[GuestUnderTest]:
    """A machine of this test's own, as its marker `bareflow` says; it ends with the test."""
    from bareflow_gdb.errors import BareflowError
    from bareflow_gdb.pytest_plugin.guest import started

    with ExitStack() as stack:
        try:
            running = stack.enter_context(started(_image(request.config), _wanted(request.node)))
        except BareflowError as error:
            pytest.fail(str(error), pytrace=False)
        request.node.stash[_RUNNING] = running
        yield running


def _image(config: pytest.Config) -> Path | None:
    given: str | None = config.getoption("--bareflow-image")
    if given:
        return config.invocation_params.dir / given
    named: str = config.getini(_IMAGE)
    return (config.inipath.parent if config.inipath else config.rootpath) / named if named else None


def _wanted(node: Any) -> dict[str, Any]:
    """The words of all markers, of which the nearest to the test counts."""
    wanted: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(MARKER))):
        if marker.args:
            raise pytest.UsageError(f"the marker {MARKER} takes names: @pytest.mark.{MARKER}(stage='idle')")
        wanted |= marker.kwargs
    return wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what its guest was about while that still runs."""
    report = yield
    running = item.stash.get(_RUNNING, None)
    if report.when == "call" and report.failed and running is not None:
        report.sections += running.evidence()
    return report
